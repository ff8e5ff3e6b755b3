#pragma once
// What every form of top_k refuses, in the same words.
#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"
#include "twotower/retrieval/exclusions.hpp"

namespace twotower::retrieval {

/// Checks a call of top_k on `items` vectors of `width` values of at most `largest`.
///
/// Throws      as top_k
void check_top_k(Index items, Index width, float largest, ConstRows<float> queries, Index k, const Filters& filters,
                 const Threads& threads, const Rows<Row>& rows, const Rows<float>& scores);

}  // namespace twotower::retrieval
