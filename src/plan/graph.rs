//! The graph of needs: circles, and an order in which nothing comes before what it needs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::model::code;
use crate::model::diagnostic::Diagnostic;
use crate::model::id::ResourceId;
use crate::resource::desired::Desired;

/// Returns an error for each circle of needs, naming all of it.
pub fn cycles(desired: &Desired) -> Vec<Diagnostic> {
    let ids: Vec<ResourceId> = desired.iter().map(|(id, _)| id).collect();
    let index = |id: &ResourceId| ids.binary_search(id).ok();
    let mut graph: DiGraph<(), ()> = DiGraph::with_capacity(ids.len(), ids.len());
    for _ in &ids {
        graph.add_node(());
    }
    for (from, (_, entry)) in desired.iter().enumerate() {
        for to in entry.needs.iter().filter_map(index) {
            graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), ());
        }
    }
    tarjan_scc(&graph)
        .into_iter()
        .filter(|circle| circle.len() > 1)
        .map(|circle| {
            let mut names: Vec<&ResourceId> = circle.iter().map(|node| &ids[node.index()]).collect();
            names.sort();
            let list = names
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" → ");
            let mut diagnostic = Diagnostic::error(code::CYCLE, format!("resources need each other: {list}"));
            for name in names {
                if let Some(origin) = desired.get(name).and_then(|entry| entry.origins.first()) {
                    diagnostic = match diagnostic.place {
                        None => diagnostic.at(origin.clone(), name.key.to_string()),
                        Some(_) => diagnostic.and(origin.clone(), name.key.to_string()),
                    };
                }
            }
            diagnostic.hint("take one `after` or `restart_on` of the circle away")
        })
        .collect()
}

/// Returns ids in an order in which each comes after all that it needs; among those that could come next, the one of
/// lowest rank, then of lowest id. What is in a circle is left out, so callers look for circles first.
pub fn order(
    needs: &BTreeMap<ResourceId, BTreeSet<ResourceId>>,
    rank: impl Fn(&ResourceId) -> usize,
) -> Vec<&ResourceId> {
    let ids: Vec<&ResourceId> = needs.keys().collect();
    let index = |id: &ResourceId| ids.binary_search(&id).ok();
    let mut waiting: Vec<usize> = vec![0; ids.len()];
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); ids.len()];
    for (at, needed) in needs.values().enumerate() {
        for need in needed.iter().filter_map(index) {
            waiting[at] += 1;
            needed_by[need].push(at);
        }
    }
    let mut ready: BinaryHeap<Reverse<(usize, usize)>> = (0..ids.len())
        .filter(|at| waiting[*at] == 0)
        .map(|at| Reverse((rank(ids[at]), at)))
        .collect();
    let mut ordered = Vec::with_capacity(ids.len());
    while let Some(Reverse((_, at))) = ready.pop() {
        ordered.push(ids[at]);
        for &next in &needed_by[at] {
            waiting[next] -= 1;
            if waiting[next] == 0 {
                ready.push(Reverse((rank(ids[next]), next)));
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(pairs: &[(&str, &[&str])]) -> BTreeMap<ResourceId, BTreeSet<ResourceId>> {
        let id = |name: &str| format!("file[/{name}]@h").parse().unwrap();
        pairs
            .iter()
            .map(|(name, needed)| (id(name), needed.iter().map(|name| id(name)).collect()))
            .collect()
    }

    #[test]
    fn nothing_comes_before_what_it_needs() {
        let needs = needs(&[("a", &["c"]), ("b", &[]), ("c", &["d"]), ("d", &[])]);
        let ordered: Vec<&str> = order(&needs, |_| 0)
            .into_iter()
            .map(|id| id.key.name.as_str())
            .collect();
        assert_eq!(ordered, ["/b", "/d", "/c", "/a"]);
    }

    #[test]
    fn lower_rank_goes_first_among_those_that_are_ready() {
        let needs = needs(&[("a", &[]), ("b", &[])]);
        let ordered = order(&needs, |id| usize::from(id.key.name == "/a"));
        assert_eq!(ordered[0].key.name, "/b");
    }
}
