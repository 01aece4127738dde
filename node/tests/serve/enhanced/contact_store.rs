//! Contacts that move to a mail server (MS-PRES 3.10, 4.14), with a real one.
