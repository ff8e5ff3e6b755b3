#pragma once
// The best items of a catalogue for every query, exactly.
#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"
#include "twotower/retrieval/exclusions.hpp"
#include "twotower/retrieval/packed_items.hpp"

namespace twotower::retrieval {

/// For every query the k items of the largest dot product among those that `filters` leave, best first; equal scores by the
/// smaller row. The list of a query is the same bytes alone and in any batch, for any number of threads.
///
/// Shapes      queries (n, items.width())    rows, scores (n, k), written
/// Requires    k >= 1 (more than there are items is fine); finite queries; see ItemLists for the lists
/// Ensures     where fewer than k items are left, the rest of the list is row -1 and score minus infinity
/// Throws      invalid_argument for k, sizes, values that are not finite and vectors so large that a score could overflow;
///             out_of_range for a listed item outside the catalogue. Nothing is written then.
/// Cost        2 n items.rows() width flops, for queries with a list of their own see top_k_of_lists; no matrix of scores: at
///             most about 12 MB a thread beside the results, or 16 k words a query of a small batch
void top_k(const PackedItems& items, ConstRows<float> queries, Index k, const Filters& filters, const Threads& threads,
           Rows<Row> rows, Rows<float> scores);

}  // namespace twotower::retrieval
