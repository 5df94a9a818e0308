//! Streamable HTTP of 2025-03-26 to 2025-11-25: sessions, streams that are resumed.
