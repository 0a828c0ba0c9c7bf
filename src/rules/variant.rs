//! Secondary keys: which stored variant answers which request (RFC 9111 4.1).

/// The request fields a response varies on, with their normalised values then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vary {
    /// Lower-case field name and the normalised value; `None` if the request had none.
    pub fields: Vec<(http::HeaderName, Option<Box<[u8]>>)>,
}

impl Vary {
    /// Bytes it occupies.
    pub fn weight(&self) -> usize {
        self.fields.iter().map(|(_, value)| 64 + value.as_ref().map_or(0, |v| v.len())).sum()
    }
}
