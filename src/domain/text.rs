//! Text that people read in a terminal or a log.

/// True for what makes a text read as another: control characters forge lines and move cursors, direction marks turn
/// words around.
pub fn deceives(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
