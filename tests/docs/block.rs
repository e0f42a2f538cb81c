//! The fenced blocks of a page of Markdown.

/// A fenced block.
pub struct Block {
    /// What stands after the fence: a language, and more.
    pub head: String,
    /// What it holds.
    pub text: String,
    /// The line in which it begins, from 1.
    pub line: usize,
}

impl Block {
    /// Returns the first word after the fence.
    pub fn language(&self) -> &str {
        self.head.split_whitespace().next().unwrap_or("")
    }
}

/// Splits a page into its blocks and its other lines; `None` if the last block is not closed.
pub fn split(text: &str) -> Option<(Vec<Block>, Vec<&str>)> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut prose = Vec::new();
    // The blanks before an open fence: a block within a list is set in as far as its item.
    let mut open = None;
    for (index, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match (open, line.trim_start().strip_prefix("```")) {
            (None, Some(head)) => {
                blocks.push(Block {
                    head: head.to_owned(),
                    text: String::new(),
                    line: index + 2,
                });
                open = Some(indent);
            }
            (Some(_), Some(_)) => open = None,
            (Some(margin), None) => {
                let block = blocks.last_mut().expect("a block is open");
                block.text.push_str(&line[indent.min(margin)..]);
                block.text.push('\n');
            }
            (None, None) => prose.push(line),
        }
    }
    open.is_none().then_some((blocks, prose))
}
