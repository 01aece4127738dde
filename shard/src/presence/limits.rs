//! How much one presentity may hold. Constants, because every replica must refuse alike: a limit that
//! an operator may set has to come through the log.

/// Live publications of one presentity and package. A person has a handful of devices; 64 leaves room
/// for gateways and calendars, and bounds a composed document to 64 × [`CONTENT_BYTES_MAX`].
pub const PUBLICATIONS_MAX: usize = 64;

/// Bytes of one publication's content, as [`super::publication::Content`] stores it.
pub const CONTENT_BYTES_MAX: usize = 64 * 1024;

/// Registered endpoints of one address.
pub const ENDPOINTS_MAX: usize = 32;

/// Watchers of one presentity: 100,000 dialogs of 600 bytes are 60 MB.
pub const WATCHERS_MAX: usize = 100_000;

/// Requests in one log entry (house §4, step 7).
pub const ENTRY_REQUESTS_MAX: usize = 512;

/// Bytes of one log entry's requests.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;

/// How long an outcome is remembered, in milliseconds of entry time: 64·T1 of RFC 3261 §17.
pub const REPLY_MEMORY_MS: u64 = 32_000;

/// Outcomes remembered at most: 48 bytes each and some 30 to find it are 80 MB, and enough for 30,000
/// requests a second. The oldest go first.
pub const REPLIES_MAX: usize = 1_000_000;

/// Category instances of one publisher: some 20 the server computes, 15 for each endpoint, and room for a
/// calendar's. 1,024 of 500 bytes are half a megabyte.
pub const INSTANCES_MAX: usize = 1_024;

/// Resources in one batched dialog, and categories of each: twice what any client was seen to ask for.
pub const BATCH_RESOURCES_MAX: usize = 2_000;

/// Categories of one resource in a batched dialog.
pub const BATCH_CATEGORIES_MAX: usize = 32;

/// Entries of one subscriber list.
pub const SUBSCRIBERS_MAX: usize = 1_000;

/// Bytes of all contexts in one subscriber list.
pub const CONTEXT_BYTES_MAX: usize = 64 * 1024;
