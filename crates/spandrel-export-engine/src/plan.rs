//! In which order units are read, and whether their rows can be written as they come.

use spandrel_download_protocol::{Query, Schema, SortKey, SortOrder};
use spandrel_export::{Order, Plan, Unit};

/// How rows reach their total order (protocol section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Units one after another, each as it is read.
    Stream,
    /// As `Stream`, but somebody must look at every time: nobody knows yet whether rows are in order.
    StreamChecked,
    /// Everything goes through a sort.
    Sort,
}

/// Puts the units of a plan into the order they are read in and says how.
pub(crate) fn arrange(mut plan: Plan, query: &Query, schema: &Schema) -> (Vec<Unit>, Flow) {
    let by_time = [SortKey { column: schema.time_index(), order: SortOrder::Asc }];
    if !query.sort.is_empty() && query.sort != by_time {
        return (plan.units, Flow::Sort);
    }
    if plan.units.iter().any(|u| u.order == Order::Unordered) {
        return (plan.units, Flow::Sort);
    }
    let known = plan.units.iter().all(|u| u.time.is_some());
    if !known {
        return (plan.units, Flow::StreamChecked);
    }
    let follows = |a: &Unit, b: &Unit| a.time.zip(b.time).is_some_and(|((_, max), (min, _))| max <= min);
    if !plan.units.windows(2).all(|w| matches!(w, [a, b] if follows(a, b))) {
        // Files may be named out of time order. Disjoint units can be read in time order; ones that share an
        // instant cannot be told apart without looking at rows.
        let source_order = plan.units.clone();
        plan.units.sort_by_key(|u| u.time);
        let apart = |a: &Unit, b: &Unit| a.time.zip(b.time).is_some_and(|((_, max), (min, _))| max < min);
        if !plan.units.windows(2).all(|w| matches!(w, [a, b] if apart(a, b))) {
            return (source_order, Flow::Sort);
        }
    }
    let checked = plan.units.iter().any(|u| u.order == Order::Unknown);
    (plan.units, if checked { Flow::StreamChecked } else { Flow::Stream })
}
