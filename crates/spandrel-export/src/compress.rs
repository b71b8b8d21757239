//! Chunks of text as pieces of one compressed file: single-member gzip, or zstd frames.
//!
//! Chunks are compressed independently, by any worker, and are joined by putting them one after another.

use crc32fast::Hasher;
use spandrel_download_protocol::Codec;

use crate::ExportError;
use crate::deflate::Deflater;
use crate::frames::Frames;

/// Compresses chunks; one a worker, reused for its memory.
pub struct ChunkCompressor {
    codec: Codec,
    chunks: Chunks,
}

enum Chunks {
    Gzip(Deflater),
    Zstd(Frames),
}

impl std::fmt::Debug for ChunkCompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkCompressor").field("codec", &self.codec).finish_non_exhaustive()
    }
}

impl ChunkCompressor {
    /// A compressor of chunks for files of `codec`.
    ///
    /// # Errors
    /// [`ExportError::Compress`] when the library refuses its settings.
    pub fn new(codec: Codec) -> Result<Self, ExportError> {
        let chunks = match codec {
            Codec::Gzip => Chunks::Gzip(Deflater::new()),
            Codec::Zstd => Chunks::Zstd(Frames::new()?),
        };
        Ok(Self { codec, chunks })
    }

    /// The codec of the files the chunks are for.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Appends `text` compressed so that it can stand anywhere in the file; nothing for no text. The bytes depend on
    /// the text and the codec alone.
    ///
    /// # Errors
    /// [`ExportError::Compress`] when the library refuses the input.
    pub fn chunk(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), ExportError> {
        if text.is_empty() {
            return Ok(());
        }
        match &mut self.chunks {
            Chunks::Gzip(deflater) => {
                deflater.append(text, out);
                Ok(())
            }
            Chunks::Zstd(frames) => frames.append(text, out),
        }
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// A gzip file of `chunks`, as an export makes it.
    fn gzip(chunks: &[&[u8]]) -> Vec<u8> {
        let mut compressor = ChunkCompressor::new(Codec::Gzip).unwrap();
        let mut out = file_header(Some(Codec::Gzip)).to_vec();
        let (mut crc, mut len) = (0, 0);
        for chunk in chunks {
            compressor.chunk(chunk, &mut out).unwrap();
            crc = crc32_join(crc, crc32(chunk), chunk.len() as u64);
            len += chunk.len() as u64;
        }
        out.extend(file_trailer(Some(Codec::Gzip), crc, len));
        out
    }

    #[test]
    fn a_gzip_file_is_one_member_with_a_right_checksum() {
        let rows = "1700000000000,BTC-KRW,buy,0.1\r\n".repeat(9_000);
        let all: [&[u8]; 5] = [b"", b"a,b\r\n", rows.as_bytes(), b"", b"last"];
        for chunks in [&all[..0], &all] {
            let file = gzip(chunks);
            let mut decoder = flate2::bufread::GzDecoder::new(&file[..]);
            let mut text = Vec::new();
            decoder.read_to_end(&mut text).unwrap();
            assert!(text == chunks.concat());
            assert!(decoder.into_inner().is_empty(), "nothing after the first member");
        }
    }
}
