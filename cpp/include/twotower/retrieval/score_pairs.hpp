#pragma once
// Scores of given pairs, with the bits that top_k gives.
#include <span>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"

namespace twotower::retrieval {

/// scores[i] = dot(queries[query_rows[i]], items[item_rows[i]]).
///
/// Shapes      queries (a, width)    items (b, width)    query_rows, item_rows, scores (n)
/// Throws      invalid_argument for sizes and for a score that is not finite; out_of_range for a row outside its table
void score_pairs(ConstRows<float> queries, ConstRows<float> items, std::span<const Row> query_rows,
                 std::span<const Row> item_rows, const Threads& threads, std::span<float> scores);

}  // namespace twotower::retrieval
