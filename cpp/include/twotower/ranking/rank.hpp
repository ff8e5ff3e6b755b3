#pragma once
// The second stage: the best of some candidates by a PairScorer, and both stages in one go.
#include <span>
#include <type_traits>

#include "twotower/model/pair_scorer.hpp"
#include "twotower/retrieval/item_index.hpp"

namespace twotower::ranking {

/// A model and the vectors of its users and items, as user_vectors and item_vectors gave them; views.
struct Scorer {
  const model::PairScorer<float>& model;
  std::remove_cvref_t<ConstRows<float>> users;  // (queries, ...)
  std::remove_cvref_t<ConstRows<float>> items;  // (items, ...)
};

/// What a head reads of a first stage's score: (score - mean) / deviation, so that it need not know that stage's units.
struct Scale {
  float mean = 0, deviation = 1;
};

/// For every query the k best of its candidates, best first; equal scores by the smaller row.
///
/// Shapes      offsets (queries + 1), candidates (all lists): rows of items, each once a list, in any order
///             given (all lists), with Meeting::given    rows, scores (queries, k), written; padded as top_k does
/// Throws      invalid_argument and out_of_range for sizes, offsets and rows; NumericalError for a score that is not finite
/// Ensures     a list is the same bytes alone and in any batch
/// Threads     lists, and parts of long ones, by the threads
/// Cost        a pass of the head for each candidate
void rank(const Scorer& scorer, std::span<const std::int64_t> offsets, std::span<const Row> candidates,
          std::span<const float> given, Index k, const Threads& threads, Rows<Row> rows, Rows<float> scores);

/// The same over the whole catalogue, less what `filters` leave out.
///
/// Throws      invalid_argument for a model that reads a number with each pair, and as rank and top_k do
void rank_all(const Scorer& scorer, Index k, const retrieval::Filters& filters, const Threads& threads, Rows<Row> rows,
              Rows<float> scores);

/// Both stages: the `candidates` best of the index for each query, then the k best of those by the model, which reads the
/// first stage's score, by `scale`, with each pair where it has Meeting::given.
///
/// Shapes      queries (n, width of the index)    scorer.users (n, ...)    rows, scores (n, k)
/// Requires    candidates >= k; item i of the index is item i of the scorer; scale.deviation > 0
/// Throws      invalid_argument and out_of_range for sizes, filters and the scale
void retrieve_and_rank(const retrieval::ItemIndex& index, ConstRows<float> queries, Index candidates,
                       const retrieval::Filters& filters, const Scorer& scorer, const Scale& scale, Index k,
                       const Threads& threads, Rows<Row> rows, Rows<float> scores);

}  // namespace twotower::ranking
