#pragma once
// The best items of a list of each query's own, exactly.
#include <span>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"
#include "twotower/retrieval/exclusions.hpp"
#include "twotower/retrieval/packed_items.hpp"

namespace twotower::retrieval {

/// For each of some queries the best of its list in filters.listed, less what the other filters leave out; the part of top_k that
/// does not look at the whole catalogue. The bits of a score and the order are those of top_k.
///
/// Shapes      queries (n, items.width())    of (m): numbers of queries that have a list
///             rows, scores (n, k): the lists of these queries are written, padded as top_k does
/// Requires    filters checked, finite queries, k >= 1, scores that cannot overflow
/// Cost        2 width flops an item of the list, or those of a whole panel where several of its items are listed; never
///             more than the whole catalogue
void top_k_of_lists(const PackedItems& items, ConstRows<float> queries, std::span<const Index> of, Index k,
                    const Filters& filters, const Threads& threads, Rows<Row> rows, Rows<float> scores);

}  // namespace twotower::retrieval
