#pragma once
// Products of small matrices, where Eigen's own preparations cost as much as the product, and where the bits of a value may
// depend on nothing but its own row and column.
//
// Every value is one chain of multiply-adds in ascending k, whatever stands beside it and however rows are cut. So terms that are
// 0 may be left out or appended: attention needs that, whose rows end at different keys.
#include <algorithm>
#include <tuple>
#include <type_traits>
#include <utility>

#include "twotower/base/registers.hpp"
#include "twotower/base/types.hpp"

namespace twotower::nn {

/// Columns of a panel.
inline constexpr Index kPanel = 32;

/// `columns` filled up to whole panels; to whole registers.
constexpr Index in_panels(Index columns) { return (columns + kPanel - 1) / kPanel * kPanel; }

template <class Scalar>
constexpr Index in_registers(Index columns) {
  return (columns + kRegisterLanes<Scalar> - 1) / kRegisterLanes<Scalar> * kRegisterLanes<Scalar>;
}

/// Values of a packed matrix.
constexpr Index packed_size(Index depth, Index columns) { return in_panels(columns) * depth; }

namespace detail {

/// rows[i][j] becomes rows[j][i]: the blocks beside the diagonal change places, larger ones first.
template <class Scalar, int kHalf = kRegisterLanes<Scalar> / 2>
void transpose(Register<Scalar>* rows) {
  constexpr int kLanes = kRegisterLanes<Scalar>;
  if constexpr (kHalf > 0) {
    const auto shuffled = [&]<std::size_t... lane>(Register<Scalar> a, Register<Scalar> b, std::index_sequence<lane...>) {
      return std::pair(__builtin_shufflevector(a, b, (lane & kHalf ? kLanes + lane - kHalf : lane)...),
                       __builtin_shufflevector(a, b, (lane & kHalf ? kLanes + lane : lane + kHalf)...));
    };
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i)
      if (!(i & kHalf))
        std::tie(rows[i], rows[i + kHalf]) = shuffled(rows[i], rows[i + kHalf], std::make_index_sequence<kLanes>());
    transpose<Scalar, kHalf / 2>(rows);
  }
}

/// panel(k, j) = from[j * step + k] for `count` columns.
template <class Scalar>
void pack_across(const Scalar* from, Index step, Index depth, Index count, Scalar* panel) {
  constexpr Index kLanes = kRegisterLanes<Scalar>;
  const Index whole_columns = count / kLanes * kLanes, whole_depth = depth / kLanes * kLanes;
  for (Index j = 0; j < whole_columns; j += kLanes)
    for (Index k = 0; k < whole_depth; k += kLanes) {
      Register<Scalar> block[kLanes];
#pragma GCC unroll 16
      for (Index i = 0; i < kLanes; ++i) block[i] = lanes_at(from + (j + i) * step + k);
      transpose<Scalar>(block);
#pragma GCC unroll 16
      for (Index i = 0; i < kLanes; ++i) lanes_at(panel + (k + i) * kPanel + j) = block[i];
    }
  for (Index j = 0; j < count; ++j)
    for (Index k = j < whole_columns ? whole_depth : 0; k < depth; ++k) panel[k * kPanel + j] = from[j * step + k];
}

}  // namespace detail

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
    else
      detail::pack_across(from, column_step, depth, count, packed);
  }
}

/// What the sums of a product start from: start(i, j) at values[i * row + j * step], step being 0 or 1; without values from 0.
template <class Scalar>
struct Start {
  Start(const Scalar* starts = nullptr, Index row_apart = 0, Index column_apart = 1)
      : values(starts), row(row_apart), step(column_apart) {}

  Start at(Index i, Index j) const { return {values ? values + i * row + j * step : nullptr, row, step}; }

  const Scalar* values;
  Index row, step;
};

namespace detail {

/// Accumulators of a tile: as many as the register file has room for beside what one step of k reads.
inline constexpr int kAccumulators = kRegisterCount == 32 ? 24 : kRegisterBytes == 32 ? 12 : 8;

template <class Scalar>
inline constexpr int kPanelRegisters = static_cast<int>(kPanel) / kRegisterLanes<Scalar>;

/// Rows of a tile that is kRegisters wide.
template <int kRegisters>
inline constexpr int kTileRows = std::clamp(kAccumulators / kRegisters, 1, 12);

/// c (kRows, kRegisters registers) = start + a (kRows, depth) b (depth, kRegisters registers).
template <class Scalar, int kRegisters, int kRows>
[[gnu::noinline]] void product_tile(const Scalar* a, Index a_row, Index a_step, const Scalar* b, Index b_row, Index depth,
                                    Scalar* c, Index c_row, Start<Scalar> start) {
  constexpr int kLanes = kRegisterLanes<Scalar>;
  Register<Scalar> sums[kRows][kRegisters] = {};
  if (start.values && start.step == 0) {
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 16
      for (int v = 0; v < kRegisters; ++v) sums[row][v] = start.values[row * start.row] - Register<Scalar>{};  // -0 stays -0
  } else if (start.values) {
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 16
      for (int v = 0; v < kRegisters; ++v) sums[row][v] = lanes_at(start.values + row * start.row + v * kLanes);
  }
  for (Index k = 0; k < depth; ++k, a += a_step, b += b_row) {
    Register<Scalar> values[kRegisters];
#pragma GCC unroll 16
    for (int v = 0; v < kRegisters; ++v) values[v] = lanes_at(b + v * kLanes);
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 16
      for (int v = 0; v < kRegisters; ++v) sums[row][v] += a[row * a_row] * values[v];
  }
#pragma GCC unroll 12
  for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 16
    for (int v = 0; v < kRegisters; ++v) lanes_at(c + row * c_row + v * kLanes) = sums[row][v];
}

/// The same for `rows` rows, from 1 to kRows.
template <class Scalar, int kRegisters, int kRows = kTileRows<kRegisters>>
void product_rows(Index rows, const Scalar* a, Index a_row, Index a_step, const Scalar* b, Index b_row, Index depth, Scalar* c,
                  Index c_row, Start<Scalar> start) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return product_tile<Scalar, kRegisters, kRows>(a, a_row, a_step, b, b_row, depth, c, c_row, start);
    product_rows<Scalar, kRegisters, kRows - 1>(rows, a, a_row, a_step, b, b_row, depth, c, c_row, start);
  }
}

/// The same for any number of rows and `columns` columns, from 1 to kRegisters registers.
template <class Scalar, int kRegisters = kPanelRegisters<Scalar>>
void product_panel(const Scalar* a, Index a_row, Index a_step, Index rows, const Scalar* b, Index b_row, Index depth,
                   Index columns, Scalar* c, Index c_row, Start<Scalar> start) {
  constexpr Index kTile = kTileRows<kRegisters>, kWidth = kRegisters * kRegisterLanes<Scalar>;
  if constexpr (kRegisters > 1)
    if (columns <= kWidth - kRegisterLanes<Scalar>)
      return product_panel<Scalar, kRegisters - 1>(a, a_row, a_step, rows, b, b_row, depth, columns, c, c_row, start);
  // Tiles as equal as can be: a small one waits for its own sums.
  const Index tiles = (rows + kTile - 1) / kTile, least = tiles > 0 ? rows / tiles : 0, larger = rows - least * tiles;
  for (Index tile = 0, row = 0; tile < tiles; ++tile) {
    const Index count = tile < larger ? least + 1 : least;
    const Scalar* from = a + row * a_row;
    Scalar* to = c + row * c_row;
    if (columns == kWidth) {
      product_rows<Scalar, kRegisters>(count, from, a_row, a_step, b, b_row, depth, to, c_row, start.at(row, 0));
    } else {
      Scalar whole[kTile * kWidth];
      product_rows<Scalar, kRegisters>(count, from, a_row, a_step, b, b_row, depth, whole, kWidth, start.at(row, 0));
      for (Index i = 0; i < std::min(count, kTile); ++i)  // as GCC does not know that a tile is never larger
        std::copy_n(whole + i * kWidth, columns, to + i * c_row);
    }
    row += count;
  }
}

}  // namespace detail

/// c = start + a b, with b packed.
///
/// Shapes      a(i, k) at a[i * a_row + k * a_step], (rows, depth)    b packed (packed_depth, columns), of which rows `first` to
///             first + depth take part    c (rows, columns) written, rows c_row apart; what lies between them is not touched
///             start (rows, in_registers(columns)), or none for zeros
/// Requires    no aliasing but that of c and start, which may be the same; first + depth <= packed_depth
/// Cost        2 rows depth in_registers(columns) flops, at more than 90 % of the FMA roof for float from 12 rows, a depth of
///             64 on (GCC 12, Zen 5, one core, AVX-512 and AVX2)
template <class Scalar>
void ordered_product(const Scalar* a, Index a_row, Index a_step, Index rows, const Scalar* packed, Index packed_depth,
                     Index first, Index depth, Index columns, Scalar* c, Index c_row,
                     std::type_identity_t<Start<Scalar>> start = {}) {
  for (Index column = 0; column < columns; column += kPanel)
    detail::product_panel(a, a_row, a_step, rows, packed + column * packed_depth + first * kPanel, kPanel, depth,
                          std::min(kPanel, columns - column), c + column, c_row, start.at(0, column));
}

/// The same with b as it lies in memory, not packed: as fast where b's rows are aligned and used by few products only.
///
/// Shapes      b (depth, columns), rows b_row apart, each readable up to in_registers(columns)
template <class Scalar>
void ordered_product_in_place(const Scalar* a, Index a_row, Index a_step, Index rows, const Scalar* b, Index b_row, Index depth,
                              Index columns, Scalar* c, Index c_row, std::type_identity_t<Start<Scalar>> start = {}) {
  for (Index column = 0; column < columns; column += kPanel)
    detail::product_panel(a, a_row, a_step, rows, b + column, b_row, depth, std::min(kPanel, columns - column), c + column, c_row,
                          start.at(0, column));
}

}  // namespace twotower::nn
