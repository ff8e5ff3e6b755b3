#pragma once
// Products of small matrices, where Eigen's own preparations cost as much as the product, and where the bits of a value may
// depend on nothing but its own row and column.
//
// Every value is one chain of multiply-adds in ascending k, whatever stands beside it and however rows are cut. So terms that are
// 0 may be left out or appended: attention needs that, whose rows end at different keys.
#include <algorithm>

#include "twotower/base/types.hpp"

namespace twotower::nn {

/// Columns of a panel.
inline constexpr Index kPanel = 32;

constexpr Index in_panels(Index columns) { return (columns + kPanel - 1) / kPanel * kPanel; }

/// Values of a packed matrix.
constexpr Index packed_size(Index depth, Index columns) { return in_panels(columns) * depth; }

/// Cuts b (depth, columns) into panels of kPanel columns, each (depth, kPanel) in one piece, the last filled up with zeros.
///
/// Shapes      b(k, j) at b[k * step + j * column_step], one of the steps being 1    packed (packed_size(depth, columns))
/// written;
///             products are fastest where it is aligned to 64 bytes
template <class Scalar>
void pack(const Scalar* b, Index step, Index column_step, Index depth, Index columns, Scalar* packed) {
  for (Index first = 0; first < columns; first += kPanel, packed += depth * kPanel) {
    const Index count = std::min(kPanel, columns - first);
    if (count < kPanel) std::fill_n(packed, depth * kPanel, Scalar(0));
    const Scalar* from = b + first * column_step;
    if (column_step == 1)
      for (Index k = 0; k < depth; ++k) std::copy_n(from + k * step, count, packed + k * kPanel);
    else  // a transpose: read along the source's rows
      for (Index j = 0; j < count; ++j)
        for (Index k = 0; k < depth; ++k) packed[k * kPanel + j] = from[j * column_step + k * step];
  }
}

namespace detail {

// A tile holds as many accumulators as the register file has room for beside a row of the panel and a broadcast.
#if defined(__AVX512F__)
inline constexpr int kRegisterBytes = 64, kAccumulators = 24;
#elif defined(__AVX__)
inline constexpr int kRegisterBytes = 32, kAccumulators = 8;
#else
inline constexpr int kRegisterBytes = 16, kAccumulators = 8;
#endif

template <class Scalar>
inline constexpr int kPanelRegisters = static_cast<int>(kPanel * sizeof(Scalar)) / kRegisterBytes;

template <class Scalar>
inline constexpr int kTileRows = std::max(1, kAccumulators / kPanelRegisters<Scalar>);

/// c (kRows, kPanel) = start + a (kRows, depth) panel (depth, kPanel).
template <class Scalar, int kRows>
[[gnu::noinline]] void product_tile(const Scalar* a, Index a_row, Index a_step, const Scalar* panel, Index depth, Scalar* c,
                                    Index c_row, const Scalar* start) {
  typedef Scalar Lanes __attribute__((vector_size(kRegisterBytes), aligned(sizeof(Scalar)), may_alias));
  constexpr int kLanes = kRegisterBytes / static_cast<int>(sizeof(Scalar)), kRegisters = kPanelRegisters<Scalar>;
  Lanes sums[kRows][kRegisters] = {};
  if (start) {
#pragma GCC unroll 24
    for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 16
      for (int v = 0; v < kRegisters; ++v) sums[row][v] = *reinterpret_cast<const Lanes*>(start + v * kLanes);
  }
  for (Index k = 0; k < depth; ++k, a += a_step, panel += kPanel) {
    Lanes b[kRegisters];
#pragma GCC unroll 16
    for (int v = 0; v < kRegisters; ++v) b[v] = *reinterpret_cast<const Lanes*>(panel + v * kLanes);
#pragma GCC unroll 24
    for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 16
      for (int v = 0; v < kRegisters; ++v) sums[row][v] += a[row * a_row] * b[v];
  }
#pragma GCC unroll 24
  for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 16
    for (int v = 0; v < kRegisters; ++v) *reinterpret_cast<Lanes*>(c + row * c_row + v * kLanes) = sums[row][v];
}

/// The same for `rows` rows, from 1 to kRows.
template <class Scalar, int kRows = kTileRows<Scalar>>
void product_rows(Index rows, const Scalar* a, Index a_row, Index a_step, const Scalar* panel, Index depth, Scalar* c,
                  Index c_row, const Scalar* start) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return product_tile<Scalar, kRows>(a, a_row, a_step, panel, depth, c, c_row, start);
    product_rows<Scalar, kRows - 1>(rows, a, a_row, a_step, panel, depth, c, c_row, start);
  }
}

}  // namespace detail

/// c = start + a b, with b packed.
///
/// Shapes      a(i, k) at a[i * a_row + k * a_step], (rows, depth)    b packed (packed_depth, columns), of which rows `first` to
///             first + depth take part    c (rows, columns) written, rows c_row apart; what lies between them is not touched
///             start (in_panels(columns)), or null for zeros
/// Requires    no aliasing; first + depth <= packed_depth
/// Cost        2 rows depth in_panels(columns) flops. Float, depth and columns 64: 112 GFLOP/s from 12 rows on, where Eigen
///             reaches 80 to 105 (GCC 12, one AVX-512 core, Zen 4)
template <class Scalar>
void ordered_product(const Scalar* a, Index a_row, Index a_step, Index rows, const Scalar* packed, Index packed_depth,
                     Index first, Index depth, Index columns, Scalar* c, Index c_row, const Scalar* start = nullptr) {
  constexpr Index kTile = detail::kTileRows<Scalar>;
  for (Index column = 0; column < columns; column += kPanel) {
    const Scalar* panel = packed + column * packed_depth + first * kPanel;
    const Scalar* begin = start ? start + column : nullptr;
    const Index count = std::min(kPanel, columns - column);
    for (Index row = 0; row < rows; row += kTile) {
      const Index tile = std::min(kTile, rows - row);
      Scalar* target = c + row * c_row + column;
      if (count == kPanel) {
        detail::product_rows<Scalar>(tile, a + row * a_row, a_row, a_step, panel, depth, target, c_row, begin);
        continue;
      }
      Scalar whole[kTile * kPanel];
      detail::product_rows<Scalar>(tile, a + row * a_row, a_row, a_step, panel, depth, whole, kPanel, begin);
      for (Index i = 0; i < tile; ++i) std::copy_n(whole + i * kPanel, count, target + i * c_row);
    }
  }
}

}  // namespace twotower::nn
