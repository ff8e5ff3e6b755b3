#pragma once
// Losses of scores that stand in lists: what a ranker learns from. Sees scores and targets, never a model.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"

namespace twotower::train {

/// What to make of scores s_i with targets t_i and weights w_i. Pointwise losses look at one pair at a time:
///   Squared    (s - t)^2 / 2
///   Huber      (s - t)^2 / 2 within `delta` of the target, delta (|s - t| - delta / 2) beyond
///   Logistic   log(1 + exp(s)) - t s, for t in [0, 1]
///   Ordinal    -log(sigmoid(c_{t+1} - s) - sigmoid(c_t - s)), for a level t in 0, 1 ...; c are the cuts between levels, with
///              c_0 = -infinity and the last +infinity
/// the others at a list, for every pair i, j of it with t_i > t_j:
///   Bpr        log(1 + exp(s_j - s_i))
///   Lambda     the same, times |change of the list's NDCG if i and j changed places|
/// or at the list as a whole:
///   Softmax    -sum of p_i log softmax(s)_i, with p_i = t_i / sum of t, t >= 0; a list of zeros costs nothing
///
/// Source      Huber 1964, "Robust estimation of a location parameter"; McCullagh 1980, "Regression models for ordinal data";
///             Rendle et al. 2009, "BPR", arXiv:1205.2618; Burges 2010, "From RankNet to LambdaRank to LambdaMART";
///             Cao et al. 2007, "Learning to rank: from pairwise approach to listwise approach" (ListNet, top one)
enum class ListLossKind : std::uint8_t { kSquared, kHuber, kLogistic, kOrdinal, kBpr, kLambda, kSoftmax };

struct ListLoss {
  ListLossKind kind = ListLossKind::kSquared;
  double delta = 1;               // Huber
  Index cutoff = 10;              // Lambda: ranks that count in NDCG
  std::vector<double> cuts = {};  // Ordinal: (levels - 1), ascending

  /// Throws invalid_argument where delta or cutoff is out of range, or cuts do not ascend.
  void check() const;

  /// Throws invalid_argument for a target that the kind has no meaning for: not finite, outside [0, 1] (Logistic), no level
  /// (Ordinal), or negative (Lambda, Softmax).
  void check_targets(std::string_view function, std::span<const float> targets) const;

  /// Whether a list of one pair, or one whose targets are all alike, teaches anything.
  bool is_pointwise() const { return kind <= ListLossKind::kOrdinal; }

  /// The mean loss, and its gradient by the scores. Pointwise: the weighted mean over pairs. Lists: the mean over lists, each
  /// weighing the sum of the weights of its pairs; Bpr and Lambda are the mean over a list's ordered pairs first.
  ///
  /// Shapes      offsets (lists + 1)    scores, targets, weights, dscores (pairs), dscores written
  /// Requires    targets as check_targets wants them, weights >= 0; where all are 0 the loss is 0
  /// Throws      invalid_argument for sizes and for offsets that do not ascend from 0 to pairs
  /// Threads     each list by one task; the losses of blocks of lists are added in their order
  /// Cost        pairs, for Bpr and Lambda the sum of the lists' lengths squared
  template <class Scalar>
  double operator()(std::span<const std::int64_t> offsets, std::span<const Scalar> scores, std::span<const float> targets,
                    std::span<const float> weights, std::span<Scalar> dscores, const Threads& threads) const;

  /// The same for some of the pairs of a pointwise loss, whose weights are `total` together with those of all others: for a model
  /// that has its scores block by block. Returns their part of the loss; where total is 0, that and dscores are 0.
  ///
  /// Shapes      scores, targets, weights, dscores (n), dscores written
  template <class Scalar>
  double pointwise(double total, std::span<const Scalar> scores, std::span<const float> targets, std::span<const float> weights,
                   std::span<Scalar> dscores) const;
};

}  // namespace twotower::train
