#include "twotower/retrieval/scan.hpp"

#include <algorithm>
#include <bit>

#include "twotower/retrieval/score_panel.hpp"

namespace twotower::retrieval {
namespace {

constexpr Index kCacheLine = 64 / sizeof(float);

Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

}  // namespace

Scan::Scan(ConstRows<float> queries, std::span<const Index> of, Index k, Index offers)
    : queries_(static_cast<Index>(of.size())),
      width_(queries.cols()),
      k_(k),
      tiles_(ceil_div(queries_, kQueryTile)),
      kept_(of.size()),
      bounds_(of.size(), -std::numeric_limits<float>::infinity()),
      best_(static_cast<std::size_t>(k)) {
  const Index words = Reservoir::words(k, offers);
  words_ = aligned_array<std::int32_t>(words * queries_);
  for (Index q = 0; q < queries_; ++q) kept_[static_cast<std::size_t>(q)] = Reservoir(words_.get() + q * words, k, offers);
  pack(queries, of);
}

void Scan::pack(ConstRows<float> queries, std::span<const Index> of) {
  packed_ = aligned_floats(tiles_ * kQueryTile * width_);
  for (Index q = 0; q < queries_; ++q) {
    const float* query = queries.row(of[static_cast<std::size_t>(q)]).data();
    float* out = packed_.get() + q / kQueryTile * kQueryTile * width_ + q % kQueryTile;
    for (Index k = 0; k < width_; ++k) out[k * kQueryTile] = query[k];
  }
}

void Scan::leave_out(Index q, const Exclusions& exclusions) { kept_[static_cast<std::size_t>(q)].leave_out(exclusions); }

void Scan::run_sampled(const PanelRun& panels) {
  Sample sample(panels, packed_.get(), queries_, width_);
  for (Index q = 0; q < queries_; ++q) {
    Reservoir& kept = kept_[static_cast<std::size_t>(q)];
    kept.exclusions().for_each([&](Row row) {
      const Index panel = (row - panels.first_row) / kPanelWidth;
      if (sample.has(panel)) sample.leave_out(q, panel, (row - panels.first_row) % kPanelWidth);
    });
    kept.expect_above(sample.guess(q, k_));
    bounds_[static_cast<std::size_t>(q)] = kept.bound();
  }
  run(panels, &sample);
}

void Scan::run(const PanelRun& panels) { run(panels, nullptr); }

void Scan::run(const PanelRun& panels, const Sample* sample) {
  const Index count = panels.panels(), size = width_ * kPanelWidth;
  // Every tile asks for its share of the next panel.
  const Index share = ceil_div(size, std::max<Index>(1, tiles_ - 1) * kCacheLine) * kCacheLine;
  for (Index p = 0; p < count; ++p) {
    const std::uint64_t mask = panels.mask(p);
    if (mask == 0) continue;
    const float* panel = panels.values + p * size;
    const float *next = panel + size, *const next_end = p + 1 < count ? next + size : next;
    const auto first_row = static_cast<Row>(panels.first_row + p * kPanelWidth);
    if (sample != nullptr && sample->has(p)) {
      for (Index tile = 0; tile < tiles_; ++tile) {
        const Index first = tile * kQueryTile, queries = std::min<Index>(kQueryTile, queries_ - first);
        offer(first, (1u << static_cast<unsigned>(queries)) - 1, sample->tile(tile, p), first_row, mask);
      }
      continue;
    }
    for (Index tile = 0; tile < tiles_; ++tile) {
      const Index first = tile * kQueryTile, queries = std::min<Index>(kQueryTile, queries_ - first);
      for (const float* end = std::min(next + share, next_end); next < end; next += kCacheLine) __builtin_prefetch(next, 0, 2);
      const unsigned hits = filter_panel(panel, packed_.get() + first * width_, width_, queries, bounds_.data() + first, scores_);
      if (hits != 0) offer(first, hits, scores_, first_row, mask);
    }
  }
}

void Scan::offer(Index first, unsigned hits, const float* scores, Row first_row, std::uint64_t mask) {
  for (; hits != 0; hits &= hits - 1) {
    const int q = std::countr_zero(hits);
    Reservoir& kept = kept_[static_cast<std::size_t>(first + q)];
    kept.offer(scores + q * kPanelWidth, first_row, mask);
    bounds_[static_cast<std::size_t>(first + q)] = kept.bound();
  }
}

std::span<const Key> Scan::best(Index q) {
  const Index found = kept_[static_cast<std::size_t>(q)].best(best_);
  return std::span(best_).first(static_cast<std::size_t>(found));
}

}  // namespace twotower::retrieval
