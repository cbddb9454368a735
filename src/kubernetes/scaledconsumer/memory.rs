//! How the engine's memory is kept in a status: compressed, so that it is a few lines where people read the object.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

/// Level of compression, of 10: higher ones take longer and save a percent or two.
const LEVEL: u8 = 6;

/// Maximum length of an unpacked memory, in bytes: several times what an engine saves. A status may be written by others.
const LONGEST_UNPACKED: usize = 262_144;

/// A memory that can't be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("it is not zlib in base64, or too long")]
pub struct PackedMemoryError;

/// Packs an engine's memory for the status.
pub fn pack_memory(memory: &str) -> String {
    STANDARD.encode(compress_to_vec_zlib(memory.as_bytes(), LEVEL))
}

/// Unpacks a memory of a status. Earlier versions kept it as plain JSON, which is returned as it is.
pub fn unpack_memory(packed: &str) -> Result<Cow<'_, str>, PackedMemoryError> {
    if packed.starts_with('{') {
        return Ok(Cow::Borrowed(packed));
    }
    let packed = STANDARD.decode(packed).map_err(|_| PackedMemoryError)?;
    let memory = decompress_to_vec_zlib_with_limit(&packed, LONGEST_UNPACKED).map_err(|_| PackedMemoryError)?;
    String::from_utf8(memory).map(Cow::Owned).map_err(|_| PackedMemoryError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_short_and_comes_back_and_nonsense_and_bombs_are_refused() {
        let memory = format!("{{\"histories\":[{}]}}", vec!["[1700000000.125,1024,2048]"; 100].join(","));
        let packed = pack_memory(&memory);
        assert!(packed.len() < memory.len() / 4, "{} of {}", packed.len(), memory.len());
        assert_eq!(unpack_memory(&packed).expect("it was packed"), memory);
        assert_eq!(unpack_memory(&memory).expect("as earlier versions wrote it"), memory);
        for wrong in ["", "not base64", "AAAA", &pack_memory(&"0".repeat(300_000))] {
            assert!(unpack_memory(wrong).is_err(), "{wrong}");
        }
    }
}
