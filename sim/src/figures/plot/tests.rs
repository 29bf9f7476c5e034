//! Charts show exactly the given data.

use super::*;
use crate::figures::{LogFit, Samples, Unit};

fn chart(series: Vec<Series>) -> Chart {
    Chart {
        title: "Lookups <&>".into(),
        x: Axis::log("nodes"),
        y: Axis::linear("time (ms)"),
        series,
    }
}

/// Checks that the SVG is well-formed: every element is closed, and all numbers are finite.
#[track_caller]
fn sound(svg: &str) {
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    for line in svg.lines().skip(1) {
        let closed = line.ends_with("/>") || line.ends_with('>') && line.contains("</");
        assert!(closed || line == "</svg>", "{line}");
    }
}

#[test]
fn axes_ticks_legend_points_and_spread_are_drawn() {
    let mut ours = Series::line("ours", vec![(1e3, 100.0), (1e4, 140.0), (1e5, 181.0)]);
    ours.points[1].spread = Some((120.0, 199.0));
    let upstream = Series::line("upstream & co", vec![(1e3, 400.0), (1e4, 900.0)]);
    let fit = LogFit::of(&[(1e3, 100.0), (1e4, 140.0), (1e5, 181.0)]).unwrap();
    let fitted = Series::fitted("fit", &fit, 1e3, 1e7);
    let svg = chart(vec![ours, upstream, fitted]).to_svg();
    sound(&svg);
    for part in [
        ">1000<",
        ">100k<",
        ">10M<",
        ">200<",
        ">nodes<",
        ">time (ms)<",
        ">upstream &amp; co<",
        "Lookups &lt;&amp;&gt;",
        "(R² 1.000), 261.83 at 10M",
    ] {
        assert!(svg.contains(part), "{part} in {svg}");
    }
    // Three data points and one in the legend are circles; two and one are squares.
    assert_eq!(svg.matches("<circle").count(), 4);
    assert_eq!(svg.matches("<polygon").count(), 3);
    assert_eq!(svg.matches("<polyline").count(), 3);
    assert_eq!(svg.matches("stroke-dasharray").count(), 2, "the fit");
}

#[test]
fn higher_values_are_drawn_higher_and_larger_ones_further_right() {
    let svg = chart(vec![Series::of(
        "p",
        vec![(10.0, 1.0), (100.0, 5.0)],
        Mark::Points,
    )])
    .to_svg();
    let places: Vec<(f64, f64)> = svg
        .lines()
        .filter(|line| line.starts_with("<circle"))
        .map(|line| {
            let field = |name: &str| {
                let text = line.split(&format!("{name}=\"")).nth(1).unwrap();
                text.split('"').next().unwrap().parse().unwrap()
            };
            (field("cx"), field("cy"))
        })
        .collect();
    assert_eq!(places.len(), 2);
    assert!(places[0].0 < places[1].0 && places[0].1 > places[1].1);
    // The axis begins at 0 and ends at 5: 360 pixels, from y = 404 up to 44.
    assert_eq!((places[0].1, places[1].1), (332.0, 44.0));
}

#[test]
fn what_an_axis_cannot_show_is_left_out() {
    let points = vec![
        (0.0, 1.0),
        (-1.0, 1.0),
        (f64::NAN, 1.0),
        (10.0, f64::INFINITY),
        (10.0, f64::MAX),
        (10.0, 7.0),
    ];
    let svg = chart(vec![Series::of("p", points, Mark::Points)]).to_svg();
    sound(&svg);
    assert_eq!(svg.matches("<circle").count(), 1);
    for series in [vec![], vec![Series::line("none", vec![])]] {
        sound(&chart(series).to_svg());
    }
    let one = Series::line("one", vec![(5.0, 5.0)]);
    sound(&chart(vec![one]).to_svg());
}

#[test]
fn the_same_data_give_the_same_bytes_and_their_numbers_as_csv() {
    let mut series = Series::line("a,\"b\"", vec![(1.0, 2.5)]);
    series.points[0].spread = Some((2.0, 3.0));
    let chart = chart(vec![series, Series::line("c", vec![(1.0, 4.0)])]);
    assert_eq!(chart.to_svg(), chart.clone().to_svg());
    assert_eq!(
        chart.to_csv(),
        "series,x,y,low,high\n\"a,\"\"b\"\"\",1,2.5,2,3\nc,1,4,,\n"
    );
}

#[test]
fn a_cumulative_curve_ends_at_all_and_steps_where_values_are() {
    let samples = Samples::of(
        Unit::Nanoseconds,
        [1_000_000, 3_000_000, 3_000_000, 8_000_000],
    );
    let chart = cumulative("Gets", "first value", [("ours", &samples)]);
    assert_eq!(chart.x.label, "first value (ms)");
    let points: Vec<(f64, f64)> = chart.series[0].points.iter().map(|p| (p.x, p.y)).collect();
    assert_eq!(
        points,
        [
            (1.0, 0.0),
            (1.0, 25.0),
            (3.0, 25.0),
            (3.0, 75.0),
            (8.0, 75.0),
            (8.0, 100.0)
        ]
    );
    let many = Samples::of(Unit::Count, 0..100_000);
    let chart = cumulative("Many", "n", [("a", &many), ("b", &many)]);
    assert!(chart.series[0].points.len() <= 402);
    sound(&chart.to_svg());
    sound(&cumulative("Empty", "n", [("none", &Samples::new(Unit::Count))]).to_svg());
}

#[test]
fn a_histogram_counts_every_measurement_once() {
    for values in [
        vec![1, 2, 2, 3, 9],
        vec![5; 10],
        (0..1_000).collect(),
        vec![0, u64::MAX],
        vec![u64::MAX - 3, u64::MAX],
    ] {
        let samples = Samples::of(Unit::Count, values.iter().copied());
        let chart = histogram("H", "n", &samples, 20);
        let bars = &chart.series[0].points;
        let sum: f64 = bars.iter().map(|bar| bar.y).sum();
        assert_eq!(sum, values.len() as f64, "{values:?}");
        assert!(bars.len() <= 22, "{}", bars.len());
        sound(&chart.to_svg());
    }
    sound(&histogram("H", "n", &Samples::new(Unit::Bytes), 0).to_svg());
    let svg = histogram("H", "n", &Samples::of(Unit::Count, [0, 0, 0, 9]), 10).to_svg();
    assert!(svg.contains("<title>0 to 1: 3</title>"), "{svg}");
}
