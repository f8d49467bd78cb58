//! Figures as pictures.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

/// One picture.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// Name of its file, without the extension.
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    /// What the numbers count: the vertical axis of lines, the lengths of bars.
    pub(crate) values: &'static str,
    pub(crate) shape: Shape,
}

/// How the figures are drawn.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// One horizontal bar for each label.
    Bars(Vec<(String, f64)>),
    /// Lines over a common horizontal axis, which counts `over`.
    Lines { over: &'static str, lines: Vec<(String, Vec<(f64, f64)>)> },
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: u32 = 760;
const LINES_HEIGHT: u32 = 400;
const BAR_HEIGHT: u32 = 26;
const MARGIN: u32 = 90;

impl Plot {
    /// Draws it to `FOLDER/FILE.svg`.
    pub(crate) fn draw(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(format!("{}.svg", self.file));
        let height = match &self.shape {
            Shape::Bars(bars) => MARGIN + BAR_HEIGHT * u32::try_from(bars.len())?,
            Shape::Lines { .. } => LINES_HEIGHT,
        };
        let area = SVGBackend::new(&path, (WIDTH, height)).into_drawing_area();
        let drawn = area.fill(&WHITE).map_err(|error| anyhow!("{error}")).and_then(|()| match &self.shape {
            Shape::Bars(bars) => self.bars(&area, bars),
            Shape::Lines { over, lines } => self.lines(&area, over, lines),
        });
        drawn
            .and_then(|()| area.present().map_err(Into::into))
            .with_context(|| format!("cannot draw {}", path.display()))
    }

    fn bars(&self, area: &Area<'_>, bars: &[(String, f64)]) -> anyhow::Result<()> {
        let most = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max) * 1.15;
        let count = i32::try_from(bars.len())?;
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 18))
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(250)
            .build_cartesian_2d(0.0..most, (0..count - 1).into_segmented())?;
        let label = |at: &SegmentValue<i32>| match at {
            SegmentValue::CenterOf(row) | SegmentValue::Exact(row) => {
                let from_top = usize::try_from(count - 1 - row).ok();
                from_top.and_then(|row| bars.get(row)).map_or_else(String::new, |(label, _)| label.clone())
            }
            SegmentValue::Last => String::new(),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .x_desc(self.values)
            .y_labels(bars.len())
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&label)
            .draw()?;
        for ((name, value), row) in bars.iter().rev().zip(0..) {
            let color = if name.contains("Sessionmesh") { RGBColor(37, 99, 235) } else { RGBColor(148, 163, 184) };
            let corners = [(0.0, SegmentValue::Exact(row)), (*value, SegmentValue::Exact(row + 1))];
            let mut bar = Rectangle::new(corners, color.filled());
            bar.set_margin(3, 3, 0, 0);
            chart.draw_series([bar])?;
            let end = (*value, SegmentValue::CenterOf(row));
            let text = EmptyElement::at(end) + Text::new(short(*value), (4, -6), ("sans-serif", 12));
            chart.draw_series([text])?;
        }
        Ok(())
    }

    fn lines(&self, area: &Area<'_>, over: &str, lines: &[(String, Vec<(f64, f64)>)]) -> anyhow::Result<()> {
        let points = || lines.iter().flat_map(|(_, points)| points.iter());
        let first = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
        let last = points().map(|(x, _)| *x).fold(f64::NEG_INFINITY, f64::max);
        let most = points().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max) * 1.15;
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 18))
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(first..last.max(first + 1.0), 0.0..most)?;
        chart
            .configure_mesh()
            .x_desc(over)
            .y_desc(self.values)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .draw()?;
        for (number, (name, points)) in lines.iter().enumerate() {
            let color = Palette99::pick(number).to_rgba();
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3))?
                .label(name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2)).draw()?;
        Ok(())
    }
}

/// A number as an axis shows it.
fn short(value: f64) -> String {
    let (value, suffix) = match value.abs() {
        size if size >= 999_950.0 => (value / 1e6, "M"),
        size if size >= 1_000.0 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(["0.25", "1.5k", "200k", "1M", "0"], [0.25, 1_500.0, 200_000.0, 1e6, 0.0].map(short)[..]);
    }

    #[test]
    fn both_shapes_are_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let plot = |file, shape| Plot { file, title: "t", values: "commits/s", shape };
        let bars = vec![("Sessionmesh".to_owned(), 2.0), ("Redis".to_owned(), 1.0)];
        plot("bars", Shape::Bars(bars)).draw(folder.path()).unwrap();
        let lines = vec![("a".to_owned(), vec![(2.0, 1.0), (4.0, 2.0)])];
        plot("lines", Shape::Lines { over: "nodes", lines }).draw(folder.path()).unwrap();
        let bars = std::fs::read_to_string(folder.path().join("bars.svg")).unwrap();
        assert!(bars.contains("Redis") && bars.contains("Sessionmesh"), "{bars}");
        assert!(std::fs::read_to_string(folder.path().join("lines.svg")).unwrap().contains("nodes"));
    }
}
