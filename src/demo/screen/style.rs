//! The screen's colours and weights.

use ratatui::style::{Color, Modifier, Style};

/// The colours of Paceline, of KEDA and of the fixed size.
pub(super) const GROUP_COLOURS: [Color; 3] = [Color::Cyan, Color::Yellow, Color::Gray];

pub(super) fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

pub(super) fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}
