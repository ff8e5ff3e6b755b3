#pragma once
// The vectors of a catalogue, arranged for the micro-kernel.
#include <span>
#include <string_view>

#include "twotower/base/memory.hpp"
#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"
#include "twotower/retrieval/lanes.hpp"

namespace twotower::retrieval {

/// Item vectors in panels of kPanelWidth items: panel p holds value k of its items side by side, items beyond the last are zero.
///
/// Shapes      items (n, width), copied; panel (width, kPanelWidth)
/// Requires    n >= 0 and below 2^31, width >= 1, finite values
/// Throws      invalid_argument naming the row and column of a value that is not finite
///
/// Grown or changed, the panels are the bytes of a fresh object of the same vectors. Not while another thread reads.
class PackedItems {
 public:
  PackedItems(ConstRows<float> items, const Threads& threads);

  /// Puts further items behind the last one.
  ///
  /// Shapes      items (m, width)
  /// Throws      invalid_argument for the width, too many rows and values that are not finite; nothing changes then
  /// Cost        m * width; now and then a copy of all panels, into room for half as many more
  void append(ConstRows<float> items, const Threads& threads);

  /// Gives the items of `rows` other vectors; of a row that comes twice the later one stays.
  ///
  /// Shapes      rows (m)    items (m, width)
  /// Throws      as append; out_of_range for a row outside the catalogue; nothing changes then
  /// Cost        m * width, and a look at every value for the largest
  void replace(std::span<const Row> rows, ConstRows<float> items, const Threads& threads);

  Index rows() const { return rows_; }
  Index width() const { return width_; }
  Index panels() const { return (rows_ + kPanelWidth - 1) / kPanelWidth; }
  const float* panel(Index p) const { return values_.get() + p * width_ * kPanelWidth; }

  /// Largest magnitude of a value.
  float largest() const { return largest_; }

  /// What the panels take, padding and room to grow counted.
  Index memory_bytes() const { return capacity_ * width_ * kPanelWidth * static_cast<Index>(sizeof(float)); }

 private:
  void put(ConstRows<float> items, Index first, const Threads& threads);

  Index rows_, width_;
  Index capacity_ = 0;  // panels that values_ has room for
  float largest_;
  AlignedFloats values_;
};

/// "ItemIndex: items has 2147483648 rows, but must have at most 2147483647"
void check_item_count(std::string_view function, Index rows);

/// Largest magnitude of a value, 0 without any. Throws "top_k: queries[3, 5] is nan, but must be a finite number".
float check_vectors(std::string_view function, std::string_view name, ConstRows<float> vectors, const Threads& threads);

}  // namespace twotower::retrieval
