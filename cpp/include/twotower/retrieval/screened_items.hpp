#pragma once
// The vectors of a catalogue with 8-bit copies that tell, with certainty, which items cannot be among the best.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"
#include "twotower/retrieval/packed_items.hpp"
#include "twotower/retrieval/screen_tile.hpp"

namespace twotower::retrieval {

/// A vector v in whole numbers: scale * v = codes + residual, codes in [-127, 127].
///
/// With a second vector u, coded with a scale and a residual of its own, scale_u scale_v <u, v> = <codes_u, codes_v> +
/// <residual_u, codes_v> + <scale_u u, residual_v>: the last two are at most the products of the lengths (Cauchy and Schwarz).
class Coder {
 public:
  explicit Coder(Index width) : scaled_(width), codes_(width) {}

  /// The scale that gives the largest magnitude the largest code. Values below the smallest normal float count as zero.
  static double scale_for(float largest);

  /// Codes a vector of `width` values; what follows tells about it. Lengths are rounded up.
  void code(const float* values, double scale);

  int operator[](Index k) const { return static_cast<int>(codes_[k]); }
  double length() const;           // of scale * v
  double code_length() const;      // of the codes
  double residual_length() const;  // of what they leave

 private:
  Eigen::ArrayXd scaled_, codes_;
};

/// Item vectors as rows of float32, and as panels of kScreenWidth coded items: word w of a panel's items side by side, each word
/// kWordCodes codes, stored as code + 128. What lies beyond the last item or value is 128, code 0.
///
/// Shapes      items (n, width), copied; panel (words, kScreenWidth) words
/// Requires    n >= 0 and below 2^31, width in [1, kScreenMaxWidth], finite values
/// Throws      invalid_argument for the width and naming the row and column of a value that is not finite
/// Cost        5 bytes a value
///
/// Grown or changed, the bytes are those of a fresh object of the same vectors. Not while another thread reads.
class ScreenedItems {
 public:
  /// What bounds the codes of a panel. `rank` is the panel's place among those whose longest vector is longest, counted up to
  /// leaders().size(); panels behind have leaders().size().
  struct Bounds {
    double scale = 1;     // of all its items
    double codes = 0;     // longest code vector
    double residual = 0;  // longest residual, the rounding of a float32 score counted in
    float longest = 0;    // longest vector
    Row rank = 0;
  };

  ScreenedItems(ConstRows<float> items, const Threads& threads);

  /// Puts further items behind the last one; contract as PackedItems.
  void append(ConstRows<float> items, const Threads& threads);

  /// Gives the items of `rows` other vectors; contract as PackedItems.
  void replace(std::span<const Row> rows, ConstRows<float> items, const Threads& threads);

  Index rows() const { return rows_; }
  Index width() const { return width_; }
  Index words() const { return (width_ + kWordCodes - 1) / kWordCodes; }
  Index panels() const { return (rows_ + kScreenWidth - 1) / kScreenWidth; }

  const float* item(Index row) const { return values_.get() + row * width_; }
  const std::int32_t* panel(Index p) const { return reinterpret_cast<const std::int32_t*>(codes_.get()) + p * panel_words(); }
  const Bounds& bounds(Index p) const { return bounds_[static_cast<std::size_t>(p)]; }

  /// The panels of the longest vectors, longest first: one in 16, at least 64. The best items are likely there.
  std::span<const Row> leaders() const { return leaders_; }

  /// Largest magnitude of a value.
  float largest() const { return largest_; }

  /// Everything counted, padding and room to grow too.
  Index memory_bytes() const;

 private:
  Index panel_words() const { return words() * kScreenWidth; }
  void put(ConstRows<float> items, const Threads& threads);
  void reserve(Index rows, const Threads& threads);
  void code_panels(std::span<const Row> touched, const Threads& threads);
  void code_panel(Index p, Coder& coder);
  void rank_panels();

  Index rows_ = 0, width_;
  Index capacity_ = 0;  // panels that there is room for
  float largest_ = 0;
  AlignedFloats values_;  // (capacity * kScreenWidth, width)
  AlignedFloats codes_;   // a word takes the room of a float
  std::vector<Bounds> bounds_;
  std::vector<Row> leaders_;
};

}  // namespace twotower::retrieval
