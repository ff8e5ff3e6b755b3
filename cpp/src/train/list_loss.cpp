#include "twotower/train/list_loss.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "twotower/base/check.hpp"

namespace twotower::train {
namespace {

constexpr const char* kName = "ListLoss";
constexpr Index kListBlock = 16, kPairBlock = 512;

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

/// Loss of one pair, and its derivative by the score.
struct Cost {
  double loss, slope;
};

/// log(sigmoid(a) - sigmoid(b)) for a > b is log(1 - exp(b - a)) - softplus(-a) - softplus(b), which no cancellation spoils:
/// b - a is a difference of cuts, whatever the score.
Cost ordinal(const std::vector<double>& cuts, double score, double target) {
  const auto level = static_cast<std::size_t>(target);
  const bool has_upper = level < cuts.size(), has_lower = level > 0;
  const double upper = has_upper ? cuts[level] - score : 0, lower = has_lower ? cuts[level - 1] - score : 0;
  Cost cost{0, 0};
  if (has_upper) cost = {softplus(-upper), sigmoid(-upper)};
  if (has_lower) cost = {cost.loss + softplus(lower), cost.slope - sigmoid(lower)};
  if (has_upper && has_lower) cost.loss -= std::log(-std::expm1(cuts[level - 1] - cuts[level]));
  return cost;
}

Cost cost_of(const ListLoss& loss, double score, double target) {
  if (loss.kind == ListLossKind::kOrdinal) return ordinal(loss.cuts, score, target);
  const double error = score - target;
  if (loss.kind == ListLossKind::kLogistic) return {softplus(score) - target * score, sigmoid(score) - target};
  if (loss.kind == ListLossKind::kSquared || std::abs(error) <= loss.delta) return {error * error / 2, error};
  return {loss.delta * (std::abs(error) - loss.delta / 2), std::copysign(loss.delta, error)};
}

/// What a place of a list by descending score is worth; rank from 0.
double discount(Index rank, Index cutoff) { return rank < cutoff ? 1 / std::log2(static_cast<double>(rank) + 2) : 0; }

double gain(float target) { return std::exp2(static_cast<double>(target)) - 1; }

/// One list, with buffers for its slopes and ranks.
template <class Scalar>
class ListCost {
 public:
  explicit ListCost(const ListLoss& loss) : loss_(loss) {}

  /// The list's loss; slopes() then holds its gradient.
  double of(std::span<const Scalar> scores, std::span<const float> targets) {
    slopes_.assign(scores.size(), 0);
    if (loss_.kind == ListLossKind::kSoftmax) return softmax(scores, targets);
    if (loss_.kind == ListLossKind::kLambda && !rank(scores, targets)) return 0;
    return pairwise(scores, targets);
  }

  const std::vector<double>& slopes() const { return slopes_; }

 private:
  double softmax(std::span<const Scalar> scores, std::span<const float> targets) {
    const double total = std::accumulate(targets.begin(), targets.end(), 0.0);
    if (!(total > 0)) return 0;
    const double highest = static_cast<double>(*std::max_element(scores.begin(), scores.end()));
    double sum = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) sum += slopes_[i] = std::exp(static_cast<double>(scores[i]) - highest);
    double loss = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const double share = static_cast<double>(targets[i]) / total;
      loss += share * (std::log(sum) + highest - static_cast<double>(scores[i]));
      slopes_[i] = slopes_[i] / sum - share;
    }
    return loss;
  }

  /// Ranks by score (equal scores by their place) and the best NDCG's gain; false where no order is better than another.
  bool rank(std::span<const Scalar> scores, std::span<const float> targets) {
    order_.resize(scores.size());
    ranks_.resize(scores.size());
    std::iota(order_.begin(), order_.end(), Index{0});
    const auto by_score = [&](Index i, Index j) {
      return scores[static_cast<std::size_t>(i)] > scores[static_cast<std::size_t>(j)];
    };
    std::stable_sort(order_.begin(), order_.end(), by_score);
    for (std::size_t k = 0; k < order_.size(); ++k) ranks_[static_cast<std::size_t>(order_[k])] = static_cast<Index>(k);
    sorted_.assign(targets.begin(), targets.end());
    std::sort(sorted_.begin(), sorted_.end(), std::greater<>());
    best_ = 0;
    for (std::size_t k = 0; k < sorted_.size(); ++k) best_ += gain(sorted_[k]) * discount(static_cast<Index>(k), loss_.cutoff);
    return best_ > 0;
  }

  double pairwise(std::span<const Scalar> scores, std::span<const float> targets) {
    double loss = 0, count = 0;
    for (std::size_t i = 0; i < scores.size(); ++i)
      for (std::size_t j = 0; j < scores.size(); ++j) {
        if (!(targets[i] > targets[j])) continue;
        const double margin = static_cast<double>(scores[i]) - static_cast<double>(scores[j]);
        const double weight = loss_.kind == ListLossKind::kLambda ? change(i, j, targets) : 1;
        const double slope = weight * sigmoid(-margin);
        loss += weight * softplus(-margin);
        slopes_[i] -= slope;
        slopes_[j] += slope;
        ++count;
      }
    if (count == 0) return 0;
    for (double& slope : slopes_) slope /= count;
    return loss / count;
  }

  double change(std::size_t i, std::size_t j, std::span<const float> targets) const {
    return std::abs((gain(targets[i]) - gain(targets[j])) *
                    (discount(ranks_[i], loss_.cutoff) - discount(ranks_[j], loss_.cutoff))) /
           best_;
  }

  const ListLoss& loss_;
  std::vector<double> slopes_;
  std::vector<Index> order_, ranks_;
  std::vector<float> sorted_;
  double best_ = 0;
};

}  // namespace

void ListLoss::check() const {
  check_positive(kName, "delta", delta);
  check_at_least(kName, "cutoff", cutoff, 1);
  if (kind == ListLossKind::kOrdinal) check_at_least(kName, "number of cuts", std::ssize(cuts), 1);
  for (std::size_t k = 0; k < cuts.size(); ++k)
    if (!std::isfinite(cuts[k]))
      fail(kName, "cuts[" + std::to_string(k) + "] is " + shown(cuts[k]) + ", but must be a finite number");
  for (std::size_t k = 1; k < cuts.size(); ++k)
    if (!(cuts[k] > cuts[k - 1]))
      fail(kName, "cuts[" + std::to_string(k) + "] is " + shown(cuts[k]) + ", but must be above cuts[" + std::to_string(k - 1) +
                      "], which is " + shown(cuts[k - 1]));
}

void ListLoss::check_targets(std::string_view function, std::span<const float> targets) const {
  check_finite(function, "targets", targets);
  if (kind == ListLossKind::kSoftmax || kind == ListLossKind::kLambda) check_not_negative(function, "targets", targets);
  const bool is_level = kind == ListLossKind::kOrdinal;
  if (!is_level && kind != ListLossKind::kLogistic) return;
  const auto highest = static_cast<float>(is_level ? cuts.size() : 1);
  for (std::size_t i = 0; i < targets.size(); ++i)
    if (targets[i] < 0 || targets[i] > highest || (is_level && targets[i] != std::trunc(targets[i])))
      fail(function, "targets[" + std::to_string(i) + "] is " + shown(static_cast<double>(targets[i])) +
                         (is_level ? ", but must be a level, a whole number in [0, " + std::to_string(cuts.size()) + "]"
                                   : ", but must be in [0, 1] with the logistic loss"));
}

template <class Scalar>
double ListLoss::pointwise(double total, std::span<const Scalar> scores, std::span<const float> targets,
                           std::span<const float> weights, std::span<Scalar> dscores) const {
  double loss = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double weight = total > 0 ? static_cast<double>(weights[i]) / total : 0;
    const Cost one = cost_of(*this, static_cast<double>(scores[i]), static_cast<double>(targets[i]));
    loss += weight * one.loss;
    dscores[i] = static_cast<Scalar>(weight * one.slope);
  }
  return loss;
}

template <class Scalar>
double ListLoss::operator()(std::span<const std::int64_t> offsets, std::span<const Scalar> scores, std::span<const float> targets,
                            std::span<const float> weights, std::span<Scalar> dscores, const Threads& threads) const {
  const Index pairs = std::ssize(scores), lists = std::ssize(offsets) - 1;
  check_offsets(kName, "offsets", offsets, pairs);
  check_size(kName, "size of targets", std::ssize(targets), "size of scores", pairs);
  check_size(kName, "size of weights", std::ssize(weights), "size of scores", pairs);
  check_size(kName, "size of dscores", std::ssize(dscores), "size of scores", pairs);
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (lists <= 0 || !(total > 0)) {
    std::fill(dscores.begin(), dscores.end(), Scalar{0});
    return 0;
  }
  if (is_pointwise()) {
    std::vector<double> parts(static_cast<std::size_t>((pairs + kPairBlock - 1) / kPairBlock), 0);
    threads.for_blocks(pairs, kPairBlock, [&](Index first, Index last, Index block) {
      const auto begin = static_cast<std::size_t>(first), size = static_cast<std::size_t>(last - first);
      parts[static_cast<std::size_t>(block)] = pointwise(total, scores.subspan(begin, size), targets.subspan(begin, size),
                                                         weights.subspan(begin, size), dscores.subspan(begin, size));
    });
    return std::accumulate(parts.begin(), parts.end(), 0.0);
  }
  std::vector<double> losses(static_cast<std::size_t>((lists + kListBlock - 1) / kListBlock), 0);
  threads.for_blocks(lists, kListBlock, [&](Index first, Index last, Index block) {
    double& loss = losses[static_cast<std::size_t>(block)];
    ListCost<Scalar> cost(*this);
    for (Index list = first; list < last; ++list) {
      const auto begin = static_cast<std::size_t>(offsets[static_cast<std::size_t>(list)]);
      const auto size = static_cast<std::size_t>(offsets[static_cast<std::size_t>(list) + 1]) - begin;
      if (size == 0) continue;
      const auto own = weights.subspan(begin, size);
      const double weight = std::accumulate(own.begin(), own.end(), 0.0) / total;
      loss += weight * cost.of(scores.subspan(begin, size), targets.subspan(begin, size));
      for (std::size_t i = 0; i < size; ++i) dscores[begin + i] = static_cast<Scalar>(weight * cost.slopes()[i]);
    }
  });
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

template double ListLoss::pointwise(double, std::span<const float>, std::span<const float>, std::span<const float>,
                                    std::span<float>) const;
template double ListLoss::pointwise(double, std::span<const double>, std::span<const float>, std::span<const float>,
                                    std::span<double>) const;
template double ListLoss::operator()(std::span<const std::int64_t>, std::span<const float>, std::span<const float>,
                                     std::span<const float>, std::span<float>, const Threads&) const;
template double ListLoss::operator()(std::span<const std::int64_t>, std::span<const double>, std::span<const float>,
                                     std::span<const float>, std::span<double>, const Threads&) const;

}  // namespace twotower::train
