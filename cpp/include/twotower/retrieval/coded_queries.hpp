#pragma once
// Queries in whole numbers, and what the sums of products with coded items must reach.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "twotower/base/types.hpp"
#include "twotower/retrieval/packed_items.hpp"
#include "twotower/retrieval/screen_tile.hpp"
#include "twotower/retrieval/screened_items.hpp"

namespace twotower::retrieval {

/// A block's queries in whole numbers, and the limits that the sums of products with a panel's codes must reach.
class CodedQueries {
 public:
  CodedQueries(ConstRows<float> queries, std::span<const Index> of, Index width)
      : words_((width + kWordCodes - 1) / kWordCodes),
        tiles_((static_cast<Index>(of.size()) + kScreenTile - 1) / kScreenTile),
        codes_(aligned_floats(tiles_ * kScreenTile * words_)),
        limits_(static_cast<std::size_t>(tiles_)),
        scales_(of.size()),
        // A score may lose what lies below the smallest normal number at each of its steps.
        lost_(static_cast<double>(width) * 0x1.0p-125) {
    auto* codes = reinterpret_cast<std::int8_t*>(codes_.get());
    std::fill_n(codes, tiles_ * kScreenTile * words_ * kWordCodes, std::int8_t{0});
    Coder coder(width);
    for (std::size_t q = 0; q < of.size(); ++q) {
      const auto query = queries.row(of[q]);
      scales_[q] = Coder::scale_for(query.cwiseAbs().maxCoeff());
      coder.code(query.data(), scales_[q]);
      const auto tile = static_cast<Index>(q) / kScreenTile, lane = static_cast<Index>(q) % kScreenTile;
      Limits& limits = limits_[static_cast<std::size_t>(tile)];
      limits.lengths[lane] = coder.length();
      limits.code_lengths[lane] = coder.code_length();
      limits.residuals[lane] = coder.residual_length();
      int sum = 0;
      for (Index k = 0; k < width; ++k) {
        codes[((tile * words_ + k / kWordCodes) * kScreenTile + lane) * kWordCodes + k % kWordCodes] =
            static_cast<std::int8_t>(coder[k]);
        sum += coder[k];
      }
      limits.offsets[lane] = static_cast<std::int32_t>(kShift) + 128 * sum;  // the items' codes are stored as code + 128
      set_bound(static_cast<Index>(q), -std::numeric_limits<float>::infinity());
    }
  }

  Index tiles() const { return tiles_; }
  const std::int32_t* tile(Index t) const {
    return reinterpret_cast<const std::int32_t*>(codes_.get()) + t * words_ * kScreenTile;
  }

  /// Scores of query q below `bound` need not come up.
  void set_bound(Index q, float bound) {
    limits_[static_cast<std::size_t>(q / kScreenTile)].bounds[q % kScreenTile] =
        scales_[static_cast<std::size_t>(q)] * (static_cast<double>(bound) - lost_);
  }

  /// With s = scale * scale_u, an item's float32 score reaches the bound only if
  ///   <codes_u, codes_v> >= s (bound - lost) - |residual_u| |codes_v| - |scale_u u| |residual_v|;
  /// starts[q] is minus this, rounded up and cleared of the offset of the items' codes. Tells whether any item may.
  bool starts(Index tile, const ScreenedItems::Bounds& panel, std::int32_t* starts) const {
    const Limits& limits = limits_[static_cast<std::size_t>(tile)];
    const Doubles start = limits.residuals * panel.codes + limits.lengths * panel.residual - limits.bounds * panel.scale;
    const Doubles reach = start + limits.code_lengths * panel.codes;
    // Shifted to where cutting off is rounding down; 2^-10 is far above what the lines before have rounded away.
    Doubles whole = start + (kShift + 0x1.0p-10);
    whole = whole > Doubles{} ? whole : Doubles{};
    whole = whole < kMostShifted + Doubles{} ? whole : kMostShifted + Doubles{};
    *reinterpret_cast<Integers*>(starts) = __builtin_convertvector(whole, Integers) - limits.offsets;
    return Eigen::Map<const Eigen::Array<double, kScreenTile, 1>, Eigen::Aligned64>(reinterpret_cast<const double*>(&reach))
               .maxCoeff() >= 0;
  }

 private:
  // Starts of sums lie within the shift either way, which keeps the sums within 32 bits.
  static constexpr double kShift = 1 << 30, kMostShifted = 2 * kShift - 1;

  // One value for each query of a tile.
  typedef double Doubles __attribute__((vector_size(kScreenTile * sizeof(double)), may_alias));
  typedef std::int32_t Integers __attribute__((vector_size(kScreenTile * sizeof(std::int32_t)), may_alias));

  /// Of the queries of a tile. One that is missing in the last tile has a bound that nothing reaches.
  struct Limits {
    Doubles lengths{}, code_lengths{}, residuals{};
    Doubles bounds = std::numeric_limits<double>::infinity() + Doubles{};  // scaled as the query
    Integers offsets{};
  };

  Index words_, tiles_;
  AlignedFloats codes_;  // (tiles, words, kScreenTile) words
  std::vector<Limits> limits_;
  std::vector<double> scales_;
  double lost_;
};

}  // namespace twotower::retrieval
