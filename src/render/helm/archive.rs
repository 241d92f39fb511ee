//! Reads the archive of a chart: a tar file in a gzip stream, with one directory.
//!
//! Nothing is written. An archive that is not a chart's is refused: links, special files, paths out of the directory,
//! a path that is there twice, and more files or bytes than a chart can have.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;

use super::chart::CHART_FILE;

/// The maximum number of files and directories.
const MOST_FILES: usize = 10_000;
/// The maximum number of unpacked bytes.
const MOST_BYTES: usize = 256 << 20;
/// The maximum length of a path.
const LONGEST_PATH: usize = 4_096;

/// The size of the blocks of a tar file.
const BLOCK: usize = 512;

/// The content of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::render) struct Archive {
    /// The files by their paths below the chart's directory.
    pub(in crate::render) files: BTreeMap<PathBuf, Vec<u8>>,
}

/// The reason why an archive is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::render) enum ArchiveError {
    /// The bytes are not a gzip stream, or it ends too early.
    #[error("it is not a complete gzip stream")]
    Compression,
    /// The content is not a tar file, or it ends too early.
    #[error("it is not a complete tar file")]
    Malformed,
    /// The archive has too many files.
    #[error("it has more than {MOST_FILES} files")]
    TooManyFiles,
    /// The archive is too large.
    #[error("it has more than {} MiB of content", MOST_BYTES >> 20)]
    TooLarge,
    /// All archives of a tree are too large together.
    #[error("the archives of the tree have too much content together")]
    TooLargeTogether,
    /// An entry is not a file or a directory.
    #[error("it contains {0}, which is a link or a special file")]
    Special(String),
    /// A path is not one below the chart's directory.
    #[error("it contains {0}, which is not a path in the chart's directory")]
    Outside(String),
    /// Two entries have the same path.
    #[error("it contains {0} twice")]
    Twice(String),
    /// There is no file that describes the chart.
    #[error("it has no {CHART_FILE}")]
    NoChart,
}

impl Archive {
    /// Reads an archive. `left` is the number of unpacked bytes that all archives of a tree can still have.
    ///
    /// # Errors
    ///
    /// The archive is not the archive of a chart, or it exceeds a limit.
    pub(in crate::render) fn read(bytes: &[u8], left: &mut usize) -> Result<Self, ArchiveError> {
        // Each file has a header and can have a name of its own, and is filled up to a block.
        let most = MOST_BYTES + 4 * BLOCK * MOST_FILES;
        let allowed = most.min(*left);
        let mut content = Vec::new();
        let unpacked = MultiGzDecoder::new(bytes).take(allowed as u64 + 1).read_to_end(&mut content);
        let is_too_large = content.len() > allowed;
        *left = left.saturating_sub(content.len());
        if is_too_large {
            return Err(if allowed < most { ArchiveError::TooLargeTogether } else { ArchiveError::TooLarge });
        }
        unpacked.map_err(|_| ArchiveError::Compression)?;
        let mut reading = Reading { rest: &content, directory: None, files: BTreeMap::new(), bytes: 0, entries: 0 };
        reading.all()?;
        if !reading.files.contains_key(&PathBuf::from(CHART_FILE)) {
            return Err(ArchiveError::NoChart);
        }
        Ok(Self { files: reading.files })
    }
}

/// A tar file while it is read.
struct Reading<'a> {
    rest: &'a [u8],
    /// The name of the chart's directory.
    directory: Option<String>,
    files: BTreeMap<PathBuf, Vec<u8>>,
    bytes: usize,
    entries: usize,
}

/// The values for the next entry that do not fit into a header.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    size: Option<usize>,
}

impl<'a> Reading<'a> {
    fn all(&mut self) -> Result<(), ArchiveError> {
        let mut extended = Extended::default();
        loop {
            let header = self.take(BLOCK)?;
            if header.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            if number(&header[148..156]) != Some(checksum(header)) {
                return Err(ArchiveError::Malformed);
            }
            let kind = header[156];
            let in_header = number(&header[124..136]).ok_or(ArchiveError::Malformed)?;
            let size = extended.size.filter(|_| !b"xgL".contains(&kind)).unwrap_or(in_header);
            let content = self.take(size)?;
            self.take(size.next_multiple_of(BLOCK) - size)?;
            match kind {
                b'x' => extended.read(content)?,
                // Git writes its commit there.
                b'g' => {}
                b'L' => extended.path = Some(until_nul(content).to_vec()),
                _ => {
                    let path = extended.path.take().unwrap_or_else(|| path_of(header));
                    extended = Extended::default();
                    self.entry(kind, &path, content)?;
                }
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ArchiveError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ArchiveError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn entry(&mut self, kind: u8, path: &[u8], content: &[u8]) -> Result<(), ArchiveError> {
        self.entries += 1;
        if self.entries > MOST_FILES {
            return Err(ArchiveError::TooManyFiles);
        }
        let is_directory = kind == b'5';
        let shown = || String::from_utf8_lossy(path).chars().take(200).flat_map(char::escape_debug).collect::<String>();
        if !is_directory && !matches!(kind, b'0' | b'7' | 0) {
            return Err(ArchiveError::Special(shown()));
        }
        let outside = || ArchiveError::Outside(shown());
        let text = std::str::from_utf8(path).ok().filter(|text| text.len() <= LONGEST_PATH).ok_or_else(outside)?;
        if text.contains('\\') || text.chars().any(char::is_control) {
            return Err(outside());
        }
        // Some programs write `./` before each path, and directories end with a slash.
        let text = text.strip_prefix("./").unwrap_or(text);
        let text = if is_directory { text.trim_end_matches('/') } else { text };
        if is_directory && (text.is_empty() || text == ".") {
            return Ok(());
        }
        let mut parts = text.split('/');
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(outside());
        }
        let first = parts.next().unwrap_or_default();
        if self.directory.get_or_insert_with(|| first.to_owned()) != first {
            return Err(outside());
        }
        let below: PathBuf = parts.collect();
        if is_directory {
            return Ok(());
        }
        if below.as_os_str().is_empty() {
            return Err(outside());
        }
        self.bytes += content.len();
        if self.bytes > MOST_BYTES {
            return Err(ArchiveError::TooLarge);
        }
        match self.files.insert(below, content.to_vec()) {
            None => Ok(()),
            Some(_) => Err(ArchiveError::Twice(shown())),
        }
    }
}

impl Extended {
    /// Reads records such as `18 path=web/values`, each with its length.
    fn read(&mut self, mut records: &[u8]) -> Result<(), ArchiveError> {
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').ok_or(ArchiveError::Malformed)?;
            let length = std::str::from_utf8(&records[..space]).ok().and_then(|text| text.parse::<usize>().ok());
            let length = length.filter(|length| *length > space + 1 && *length <= records.len());
            let (record, rest) = records.split_at(length.ok_or(ArchiveError::Malformed)?);
            let record = record[space + 1..].strip_suffix(b"\n").ok_or(ArchiveError::Malformed)?;
            if let Some(path) = record.strip_prefix(b"path=") {
                self.path = Some(path.to_vec());
            }
            if let Some(size) = record.strip_prefix(b"size=") {
                let size = std::str::from_utf8(size).ok().and_then(|text| text.parse().ok());
                self.size = Some(size.ok_or(ArchiveError::Malformed)?);
            }
            records = rest;
        }
        Ok(())
    }
}

/// Returns the path in a header, of which a part can be in a field of its own.
fn path_of(header: &[u8]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    let prefix = if &header[257..262] == b"ustar" && header[262] == 0 { until_nul(&header[345..500]) } else { b"" };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Returns the octal number in a field.
fn number(field: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(until_nul(field)).ok()?.trim();
    if text.is_empty() { Some(0) } else { usize::from_str_radix(text, 8).ok() }
}

/// Returns the sum of the bytes of a header, in which the sum itself counts as spaces.
fn checksum(header: &[u8]) -> usize {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    sum(&header[..148]) + 8 * usize::from(b' ') + sum(&header[156..])
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    const CHART: (&str, &str) = ("web/Chart.yaml", "name: web");

    fn header(kind: u8, path: &str, size: usize) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        let path = path.as_bytes();
        header[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[156] = kind;
        header[257..263].copy_from_slice(b"ustar\0");
        let sum = checksum(&header);
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    }

    fn entry(kind: u8, path: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes = header(kind, path, content.len());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn packed(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for entry in entries {
            encoder.write_all(entry).unwrap();
        }
        encoder.write_all(&[0; 2 * BLOCK]).unwrap();
        encoder.finish().unwrap()
    }

    /// Returns the archive of a chart with these files.
    pub(in crate::render::helm) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        packed(&files.iter().map(|(path, text)| entry(b'0', path, text.as_bytes())).collect::<Vec<_>>())
    }

    fn read(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
        let read = Archive::read(bytes, &mut usize::MAX.clone()).map_err(|error| error.to_string())?;
        let shown = |(path, bytes): (&PathBuf, &Vec<u8>)| {
            (path.display().to_string(), String::from_utf8_lossy(bytes).into_owned())
        };
        Ok(read.files.iter().map(shown).collect())
    }

    #[test]
    fn k7_the_files_of_an_archive_are_those_of_its_directory() {
        let long = format!("web/{}/x", "d".repeat(150));
        let record = format!("{} path={long}\n", long.len() + 10);
        let (before, after) = long.split_at(100);
        let split = format!("web/{}/y", "e".repeat(90));
        let bytes = packed(&[
            entry(b'g', "pax_global_header", b"52 comment=0123456789012345678901234567890123456789\n"),
            entry(b'5', "web/", b""),
            entry(b'0', CHART.0, CHART.1.as_bytes()),
            entry(b'0', "./web/templates/x.yaml", b"x"),
            entry(b'x', "PaxHeaders", record.as_bytes()),
            entry(b'0', before, b"pax"),
            entry(b'L', "././@LongLink", format!("{long}2\0").as_bytes()),
            entry(b'0', after, b"gnu"),
            entry(0, &split, b"old"),
        ]);
        let found = read(&bytes).unwrap();
        let below = |path: &str| path.strip_prefix("web/").unwrap().to_owned();
        let expected = [
            ("Chart.yaml".to_owned(), "name: web"),
            (below(&long), "pax"),
            (below(&format!("{long}2")), "gnu"),
            (below(&split), "old"),
            ("templates/x.yaml".to_owned(), "x"),
        ];
        assert_eq!(found, expected.map(|(path, text)| (path, text.to_owned())));
    }

    #[test]
    fn k7_hostile_archives_are_refused_in_one_sentence() {
        let with = |more: &[Vec<u8>]| {
            let chart = entry(b'0', CHART.0, CHART.1.as_bytes());
            packed(&[&[chart][..], more].concat())
        };
        let whole = archive(&[CHART, ("web/x", &"x".repeat(4000))]);
        let mut negative = header(b'0', "web/x", 1);
        negative[124..136].copy_from_slice(b"-0000000001\0");
        let sum = checksum(&negative);
        negative[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut size = entry(b'x', "p", b"30 size=99999999999999999999\n\n");
        size.extend(entry(b'0', "web/x", b""));
        for (bytes, expected) in [
            (with(&[entry(b'0', "../x", b"")]), "it contains ../x, which is not a path in the chart's directory"),
            (with(&[entry(b'0', "web/../x", b"")]), "it contains web/../x, which is not a path"),
            (with(&[entry(b'0', "/etc/passwd", b"")]), "it contains /etc/passwd, which is not a path"),
            (with(&[entry(b'0', "web//x", b"")]), "it contains web//x, which is not a path"),
            (with(&[entry(b'0', "web\\..\\x", b"")]), "it contains web\\\\..\\\\x, which is not a path"),
            (with(&[entry(b'0', "web/a\nb", b"")]), "it contains web/a\\nb, which is not a path"),
            (with(&[entry(b'0', "other/x", b"")]), "it contains other/x, which is not a path"),
            (with(&[entry(b'0', "web", b"")]), "it contains web, which is not a path"),
            (with(&[entry(b'2', "web/x", b"")]), "it contains web/x, which is a link or a special file"),
            (with(&[entry(b'1', "web/x", b"")]), "it contains web/x, which is a link or a special file"),
            (with(&[entry(b'6', "web/x", b"")]), "it contains web/x, which is a link or a special file"),
            (with(&[entry(b'K', "x", b"web/x\0")]), "it contains x, which is a link or a special file"),
            (with(&[entry(b'0', "web/x", b""), entry(b'0', "./web/x", b"")]), "it contains ./web/x twice"),
            (with(&[negative]), "it is not a complete tar file"),
            (with(&[size]), "it is not a complete tar file"),
            (with(&[header(b'0', "web/x", 5000)]), "it is not a complete tar file"),
            (with(&[entry(b'x', "p", b"5 x")]), "it is not a complete tar file"),
            (archive(&[("web/values.yaml", "")]), "it has no Chart.yaml"),
            (archive(&[("Chart.yaml", "")]), "it contains Chart.yaml, which is not a path"),
            (packed(&[vec![7; BLOCK]]), "it is not a complete tar file"),
            (packed(&vec![entry(b'5', "web/", b""); MOST_FILES + 1]), "it has more than 10000 files"),
            (whole[..whole.len() - 9].to_vec(), "it is not a complete gzip stream"),
            (whole[..whole.len() / 2].to_vec(), "it is not a complete gzip stream"),
            (b"not an archive".to_vec(), "it is not a complete gzip stream"),
            (Vec::new(), "it is not a complete gzip stream"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.starts_with(expected) && !error.contains('\n'), "{expected}: {error}");
        }
    }

    #[test]
    fn k7_a_bomb_is_left_at_the_limit() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&header(b'0', "web/x", 600 << 20)).unwrap();
        let block = vec![0; 1 << 20];
        for _ in 0..300 {
            encoder.write_all(&block).unwrap();
        }
        let bytes = encoder.finish().unwrap();
        assert!(bytes.len() < 4 << 20, "{}", bytes.len());
        let mut left = usize::MAX;
        assert_eq!(Archive::read(&bytes, &mut left), Err(ArchiveError::TooLarge));
        let mut left = 5 << 20;
        assert_eq!(Archive::read(&bytes, &mut left), Err(ArchiveError::TooLargeTogether));
        assert_eq!(left, 0);
    }

    proptest! {
        #[test]
        fn k7_flipped_bytes_give_files_of_the_directory_or_an_error(
            at in any::<prop::sample::Index>(), bit in 0_u8..8, inside in any::<bool>()
        ) {
            let files = [CHART, ("web/values.yaml", "a: 1\n"), ("web/templates/x.yaml", "{{ .Values.a }}")];
            let entries: Vec<Vec<u8>> = files.iter().map(|(path, text)| entry(b'0', path, text.as_bytes())).collect();
            let mut content = entries.concat();
            let bytes = if inside {
                let at = at.index(content.len());
                content[at] ^= 1 << bit;
                packed(&[content])
            } else {
                let mut bytes = archive(&files);
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
                bytes
            };
            if let Ok(found) = Archive::read(&bytes, &mut (1 << 30)) {
                for path in found.files.keys() {
                    let is_plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
                    prop_assert!(path.components().all(is_plain) && path != Path::new(""), "{path:?}");
                }
            }
        }
    }
}
