//! JSON Pointers (RFC 6901) built on the way down, written only when something is wrong.

/// A place inside `data`; a list on the stack.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Name(&'a Self, &'a str),
    Index(&'a Self, usize),
}

/// Most bytes of one segment in the pointer; a member name of a megabyte would not fit an answer.
const SEGMENT_BYTES_MAX: usize = 128;

impl<'a> Path<'a> {
    pub(crate) fn name(&'a self, name: &'a str) -> Self {
        Self::Name(self, name)
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }

    pub(crate) fn pointer(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Root => {}
            Self::Name(parent, name) => {
                parent.write(out);
                out.push('/');
                let cut = name.char_indices().map(|(at, _)| at).find(|at| *at >= SEGMENT_BYTES_MAX);
                for c in name.get(..cut.unwrap_or(name.len())).unwrap_or_default().chars() {
                    match c {
                        '~' => out.push_str("~0"),
                        '/' => out.push_str("~1"),
                        c => out.push(c),
                    }
                }
                if cut.is_some() {
                    out.push('…');
                }
            }
            Self::Index(parent, index) => {
                parent.write(out);
                out.push('/');
                out.push_str(&index.to_string());
            }
        }
    }
}
