#pragma once
// Which items were met by the same queries.
#include "twotower/base/parallel.hpp"
#include "twotower/base/sparse_rows.hpp"

namespace twotower::baselines {

/// How alike two items are, by the queries u that met them, with weights x:
///
///     kCosine     sum x_ui x_uj / (|x_i| |x_j| + shrink)
///     kJaccard    queries of both / (queries of either + shrink); weights do not matter
///     kTfIdf      the cosine of x_ui (ln((1 + items) / (1 + items of u)) + 1): who meets little tells more
///
/// Source      Sarwar, Karypis, Konstan, Riedl 2001, "Item-based collaborative filtering recommendation algorithms"; Deshpande,
///             Karypis 2004, "Item-based top-N recommendation algorithms"
enum class Likeness { kCosine, kJaccard, kTfIdf };

/// The most alike items of each item, itself left out, rows ascending; only likenesses above 0, fewer than `neighbors` where
/// there are no more. Equal likenesses: the smaller row is in. Computed in double.
///
/// Shapes      met (queries, items): what each query met    result (items, items)
/// Requires    weights above 0; an item that comes several times in a row has the sum of its weights
/// Throws      invalid_argument for neighbors below 1, shrink below 0 or not finite, negative weights
/// Cost        additions: over all queries the square of their items; memory a thread: 20 bytes an item
SparseRows item_neighbors(const SparseRows& met, Index neighbors, Likeness likeness, double shrink, const Threads& threads);

}  // namespace twotower::baselines
