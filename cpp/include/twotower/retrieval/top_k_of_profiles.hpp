#pragma once
// The best items for profiles: what a query has of some features, and what each feature says for each item. Neighbors of items,
// words of items and linear models of items are all of this shape.
#include <span>

#include "twotower/base/parallel.hpp"
#include "twotower/base/sparse_rows.hpp"
#include "twotower/base/types.hpp"
#include "twotower/retrieval/exclusions.hpp"

namespace twotower::retrieval {

/// For every query the k items of the largest score among those that `filters` leave, best first; equal scores by the smaller
/// row. The score of an item is the sum over the query's profile of weight times what the feature says for the item, added up in
/// the order of the profile in float32: the same bytes alone and in any batch, for any number of threads.
///
/// Shapes      profiles (lists, features)    postings (features, items): an inverted index
///             queries (n): which profile each query has    rows, scores (n, k), written
/// Requires    k >= 1; sums that do not overflow; see ItemLists for the lists
/// Ensures     where fewer than k items are left, the rest of the list is row -1 and score minus infinity; items that no feature
///             speaks of have score 0, and are listed like any other
/// Throws      invalid_argument for k and sizes; out_of_range for a query without a profile or a listed item outside the
/// catalogue.
///             Nothing is written then.
/// Cost        additions: over the profile the length of the postings of each feature, and a pass over the items;
///             memory a thread: a float32 an item
void top_k_of_profiles(const SparseRows& profiles, const SparseRows& postings, std::span<const Row> queries, Index k,
                       const Filters& filters, const Threads& threads, Rows<Row> rows, Rows<float> scores);

/// The same where every feature says something for every item: postings is a matrix (features, items).
void top_k_of_profiles(const SparseRows& profiles, ConstRows<float> postings, std::span<const Row> queries, Index k,
                       const Filters& filters, const Threads& threads, Rows<Row> rows, Rows<float> scores);

/// Scores of given pairs, with the bits of top_k_of_profiles.
///
/// Shapes      queries, items, scores (pairs)
/// Throws      invalid_argument for sizes, out_of_range for rows
/// Cost        that of the lists of the different queries, less the pass over the items
void score_profile_pairs(const SparseRows& profiles, const SparseRows& postings, std::span<const Row> queries,
                         std::span<const Row> items, const Threads& threads, std::span<float> scores);
void score_profile_pairs(const SparseRows& profiles, ConstRows<float> postings, std::span<const Row> queries,
                         std::span<const Row> items, const Threads& threads, std::span<float> scores);

}  // namespace twotower::retrieval
