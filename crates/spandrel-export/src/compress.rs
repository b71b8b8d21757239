//! Chunks of text as pieces of one compressed file: single-member gzip, or zstd frames.
//!
//! Chunks are compressed independently, by any worker, and are joined by putting them one after another.

use crc32fast::Hasher;
use spandrel_download_protocol::Codec;

use crate::ExportError;
use crate::deflate::Deflater;

/// Compresses chunks; one a worker, reused for its memory.
pub struct ChunkCompressor {
    codec: Codec,
    deflate: Option<Deflater>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl std::fmt::Debug for ChunkCompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkCompressor").field("codec", &self.codec).finish_non_exhaustive()
    }
}

/// Level 1 is smaller and faster than level 3 on tabular text.
const ZSTD_LEVEL: i32 = 1;

impl ChunkCompressor {
    /// A compressor of chunks for files of `codec`.
    ///
    /// # Errors
    /// [`ExportError::Compress`] when the library refuses its settings.
    pub fn new(codec: Codec) -> Result<Self, ExportError> {
        let zstd = match codec {
            Codec::Zstd => Some(
                zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|e| ExportError::Compress(e.to_string()))?,
            ),
            Codec::Gzip => None,
        };
        let deflate = (codec == Codec::Gzip).then(Deflater::new);
        Ok(Self { codec, deflate, zstd })
    }

    /// Appends `text` compressed so that it can stand anywhere in the file; nothing for no text.
    ///
    /// # Errors
    /// [`ExportError::Compress`] when the library refuses the input.
    pub fn chunk(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), ExportError> {
        if text.is_empty() {
            return Ok(());
        }
        if let Some(deflate) = &mut self.deflate {
            deflate.append(text, out);
            return Ok(());
        }
        if let Some(zstd) = &mut self.zstd {
            let start = out.len();
            out.resize(start + zstd::zstd_safe::compress_bound(text.len()), 0);
            let slot = out.get_mut(start..).unwrap_or_default();
            let len =
                zstd.compress_to_buffer(text, slot).map_err(|e| ExportError::Compress(e.to_string()))?;
            out.truncate(start + len);
        }
        Ok(())
    }
}

/// What a compressed file begins with.
pub fn file_header(codec: Option<Codec>) -> &'static [u8] {
    match codec {
        // RFC 1952: deflate, no name, MTIME 0, unknown system.
        Some(Codec::Gzip) => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff],
        Some(Codec::Zstd) | None => &[],
    }
}

/// What a compressed file ends with: gzip's final block, the CRC-32 and length of the text.
pub fn file_trailer(codec: Option<Codec>, crc: u32, text_len: u64) -> Vec<u8> {
    match codec {
        Some(Codec::Gzip) => {
            let mut out = vec![3, 0]; // a final block of fixed codes that holds only its end
            out.extend_from_slice(&crc.to_le_bytes());
            // RFC 1952: the length modulo 2^32.
            out.extend(text_len.to_le_bytes().iter().take(4));
            out
        }
        Some(Codec::Zstd) | None => Vec::new(),
    }
}

/// CRC-32 of one text.
pub fn crc32(text: &[u8]) -> u32 {
    crc32fast::hash(text)
}

/// CRC-32 of two texts one after the other, from the CRC of each and the length of the second.
pub fn crc32_join(first: u32, second: u32, second_len: u64) -> u32 {
    let mut joined = Hasher::new_with_initial(first);
    joined.combine(&Hasher::new_with_initial_len(second, second_len));
    joined.finalize()
}
