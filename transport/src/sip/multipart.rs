//! multipart/related and multipart/mixed bodies, both ways (RFC 2046, RFC 2387).
