#pragma once
// A catalogue's vectors, held in the form that finds the best of them soonest.
#include <optional>
#include <span>
#include <variant>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"
#include "twotower/retrieval/exclusions.hpp"
#include "twotower/retrieval/packed_items.hpp"
#include "twotower/retrieval/screened_items.hpp"

namespace twotower::retrieval {

/// Item vectors for exact top-k, in one of two forms: panels of float32, or float32 rows beside panels of 8-bit numbers that are
/// scanned first (see screen.hpp). Both give the same rows and the same bits of scores.
///
/// Shapes      items (n, width), copied
/// Requires    n >= 0 and below 2^31, width >= 1, finite values
/// Throws      invalid_argument naming the row and column of a value that is not finite, and where `screen` is true but this CPU
///             or this width has no screen
class ItemIndex {
 public:
  /// `screen`: whether there shall be 8-bit panels; nothing for a choice by the number of items and the CPU, once and for all.
  ItemIndex(ConstRows<float> items, const Threads& threads, std::optional<bool> screen = std::nullopt);

  /// As PackedItems has them.
  void append(ConstRows<float> items, const Threads& threads);
  void replace(std::span<const Row> rows, ConstRows<float> items, const Threads& threads);

  Index rows() const;
  Index width() const;

  /// What the vectors take in every form they are held in, padding and room to grow counted.
  Index memory_bytes() const;

  bool screened() const { return std::holds_alternative<ScreenedItems>(items_); }

  /// As retrieval::top_k has it.
  void top_k(ConstRows<float> queries, Index k, const Filters& filters, const Threads& threads, Rows<Row> rows,
             Rows<float> scores) const;

 private:
  std::variant<PackedItems, ScreenedItems> items_;
};

}  // namespace twotower::retrieval
