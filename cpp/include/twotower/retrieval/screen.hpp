#pragma once
// The best items of a catalogue for every query, exactly, by way of 8-bit scores.
#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"
#include "twotower/retrieval/exclusions.hpp"
#include "twotower/retrieval/screened_items.hpp"

namespace twotower::retrieval {

/// What top_k of the same vectors writes, byte for byte. Every item gets a score of whole numbers and a bound of how far that may
/// lie from its float32 score; those that may beat what is kept so far get their float32 score from their row.
///
/// Where the bounds tell too little (long lists, vectors with few large values), the panels of the next stretch are made from
/// the rows and scored in float32. What decides is the block's own data, and the result is the same either way.
///
/// Shapes, Requires, Ensures, Throws    as top_k
/// Cost        n items.rows() width products of 8 bits, and 2 width flops and a cache miss for each item that may matter: about
///             K log(N / K) times a small factor of N items; about 4 MB a thread beside the results
void screened_top_k(const ScreenedItems& items, ConstRows<float> queries, Index k, const Filters& filters, const Threads& threads,
                    Rows<Row> rows, Rows<float> scores);

}  // namespace twotower::retrieval
