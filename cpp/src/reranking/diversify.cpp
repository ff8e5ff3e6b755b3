#include "twotower/reranking/diversify.hpp"

#include <algorithm>
#include <limits>

#include "twotower/base/check.hpp"

namespace twotower::reranking {
namespace {

constexpr const char* kName = "diversify";
constexpr Index kLanes = 16;
constexpr Index kListBlock = 8;  // lists that share scratch
constexpr float kGone = -std::numeric_limits<float>::infinity();

/// The dot product of two rows padded to whole lanes; value k goes to lane k % 16, wherever the rows lie in memory.
float dot(const float* a, const float* b, Index padded) {
  float sums[kLanes] = {};
  for (Index k = 0; k < padded; k += kLanes)
    for (Index lane = 0; lane < kLanes; ++lane) sums[lane] += a[k + lane] * b[k + lane];
  for (Index half = kLanes / 2; half > 0; half /= 2)
    for (Index lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  return sums[0];
}

/// How many picked items have each code.
class Counts {
 public:
  explicit Counts(const Cap& cap) : cap_(cap), counts_(static_cast<std::size_t>(cap.num_codes)) {}

  bool lets(Row item) const {
    const std::span<const Row> codes = codes_of(item);
    return std::all_of(codes.begin(), codes.end(),
                       [&](Row code) { return counts_[static_cast<std::size_t>(code)] < cap_.limit; });
  }

  void add(Row item, Index change) {
    for (const Row code : codes_of(item)) counts_[static_cast<std::size_t>(code)] += change;
  }

 private:
  std::span<const Row> codes_of(Row item) const {
    const auto begin = static_cast<std::size_t>(cap_.offsets[static_cast<std::size_t>(item)]);
    return cap_.codes.subspan(begin, static_cast<std::size_t>(cap_.offsets[static_cast<std::size_t>(item) + 1]) - begin);
  }

  const Cap& cap_;
  std::vector<Index> counts_;
};

/// Reorders one list after the other, in scratch of its own.
class Picker {
 public:
  Picker(ConstRows<float> vectors, std::span<const Cap> caps, double trade_off)
      : vectors_(vectors),
        padded_((vectors.cols() + kLanes - 1) / kLanes * kLanes),
        relevance_share_(static_cast<float>(trade_off)),
        likeness_share_(static_cast<float>(1 - trade_off)) {
    for (const Cap& cap : caps) counts_.emplace_back(cap);
  }

  /// Writes the places of the picked candidates.
  void pick(std::span<const Row> items, std::span<const float> scores, std::span<Row> picked) {
    std::fill(picked.begin(), picked.end(), -1);
    if (items.empty()) return;
    gather(items);
    values_.resize(items.size());
    const auto [smallest, largest] = std::minmax_element(scores.begin(), scores.end());
    for (std::size_t c = 0; c < items.size(); ++c)
      values_[c] = relevance_share_ * (*largest > *smallest ? (scores[c] - *smallest) / (*largest - *smallest) : 1.0F);
    likeness_.assign(items.size(), 0.0F);
    std::size_t place = 0;
    for (; place < picked.size(); ++place) {
      const Row best = next(items);
      if (best < 0) break;
      picked[place] = best;
      take(items, static_cast<std::size_t>(best), place == 0);
    }
    for (std::size_t k = 0; k < place; ++k)
      for (Counts& counts : counts_) counts.add(items[static_cast<std::size_t>(picked[k])], -1);
  }

 private:
  void gather(std::span<const Row> items) {
    panel_.assign(items.size() * static_cast<std::size_t>(padded_), 0.0F);
    if (padded_ == 0) return;
    for (std::size_t c = 0; c < items.size(); ++c) {
      const float* vector = vectors_.row(items[c]).data();
      std::copy(vector, vector + vectors_.cols(), panel_.data() + c * static_cast<std::size_t>(padded_));
    }
  }

  // The best candidate that is left; -1 where there is none. What a cap forbids now it forbids to the end.
  Row next(std::span<const Row> items) {
    Row best = -1;
    float most = kGone;
    for (std::size_t c = 0; c < items.size(); ++c) {
      const float value = values_[c] - likeness_share_ * likeness_[c];
      if (!(value > most)) continue;
      if (!std::all_of(counts_.begin(), counts_.end(), [&](const Counts& counts) { return counts.lets(items[c]); })) {
        values_[c] = kGone;
        continue;
      }
      most = value;
      best = static_cast<Row>(c);
    }
    return best;
  }

  void take(std::span<const Row> items, std::size_t chosen, bool first) {
    values_[chosen] = kGone;
    for (Counts& counts : counts_) counts.add(items[chosen], 1);
    if (padded_ == 0 || likeness_share_ == 0) return;
    const auto width = static_cast<std::size_t>(padded_);
    const float* own = panel_.data() + chosen * width;
    for (std::size_t c = 0; c < items.size(); ++c) {
      if (values_[c] == kGone) continue;
      const float likeness = dot(own, panel_.data() + c * width, padded_);
      likeness_[c] = first ? likeness : std::max(likeness_[c], likeness);
    }
  }

  ConstRows<float> vectors_;
  Index padded_;
  float relevance_share_, likeness_share_;
  std::vector<Counts> counts_;
  std::vector<float> panel_, values_, likeness_;
};

}  // namespace

void diversify(const Candidates& candidates, ConstRows<float> vectors, std::span<const Cap> caps, double trade_off,
               const Threads& threads, Rows<Row> picked) {
  const Index lists = std::ssize(candidates.offsets) - 1;
  check_offsets(kName, "offsets", candidates.offsets, std::ssize(candidates.items));
  check_size(kName, "the number of scores", std::ssize(candidates.scores), "the number of items", std::ssize(candidates.items));
  check_rows(kName, "items", candidates.items, vectors.rows());
  check_finite(kName, "scores", candidates.scores);
  check_in_range(kName, "trade_off", trade_off, 0, 1);
  check_size(kName, "the number of result rows", picked.rows(), "the number of lists", lists);
  check_at_least(kName, "k", picked.cols(), 1);
  for (Index row = 0; row < vectors.rows(); ++row)
    check_finite(kName, "vectors", {vectors.row(row).data(), static_cast<std::size_t>(vectors.cols())});
  for (const Cap& cap : caps) {
    check_size(kName, "the number of offsets of a cap", std::ssize(cap.offsets), "the number of items + 1", vectors.rows() + 1);
    check_offsets(kName, "offsets of a cap", cap.offsets, std::ssize(cap.codes));
    check_rows(kName, "codes of a cap", cap.codes, cap.num_codes);
    check_at_least(kName, "limit of a cap", cap.limit, 1);
  }
  threads.for_blocks(lists, kListBlock, [&](Index begin, Index end, Index) {
    Picker picker(vectors, caps, trade_off);
    for (Index list = begin; list < end; ++list) {
      const auto first = static_cast<std::size_t>(candidates.offsets[static_cast<std::size_t>(list)]);
      const auto count = static_cast<std::size_t>(candidates.offsets[static_cast<std::size_t>(list) + 1]) - first;
      picker.pick(candidates.items.subspan(first, count), candidates.scores.subspan(first, count),
                  {picked.row(list).data(), static_cast<std::size_t>(picked.cols())});
    }
  });
}

}  // namespace twotower::reranking
