//! Messages in SEI NAL units (ITU-T H.264, 7.3.2.3.1).

/// The messages of a payload without emulation prevention: payloadType and what there is of the message.
pub(crate) fn messages(mut payload: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, rest) = read_number(payload)?;
        let (length, rest) = read_number(rest)?;
        let (message, rest) = rest.split_at(rest.len().min(length));
        payload = rest;
        Some((kind, message))
    })
}

/// A number of SEI: 255 for each whole 255 in it, then the rest.
fn read_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let whole = bytes.iter().take_while(|byte| **byte == 0xFF).count();
    let last = *bytes.get(whole)?;
    Some((whole * 255 + usize::from(last), &bytes[whole + 1..]))
}
