#pragma once
// Small towers and tables with every kind of column, for the tests of model and trainer.
#include <cmath>
#include <cstring>
#include <vector>

#include "support/random_matrix.hpp"
#include "twotower/model/two_tower.hpp"

namespace twotower::test {

/// Columns: 0 codes of 5, 1 weighted bags of 4 (some empty), 2 numbers (some missing), 3 codes that are the row's own number.
inline data::FeatureTable mixed_features(Index rows, std::uint64_t seed = 1) {
  RandomStream random(seed, Purpose::kTest);
  std::vector<Row> codes, own, bag;
  std::vector<std::int64_t> offsets{0};
  std::vector<float> weights, numbers;
  for (Row row = 0; row < rows; ++row) {
    codes.push_back(static_cast<Row>(random.below(5)));
    own.push_back(row);
    for (std::int64_t left = random.below(4); left > 0; --left) {
      bag.push_back(static_cast<Row>(random.below(4)));
      weights.push_back(static_cast<float>(0.5 + random.uniform()));
    }
    offsets.push_back(std::ssize(bag));
    numbers.push_back(row % 5 == 3 ? std::nanf("") : static_cast<float>(random.normal()));
  }
  data::FeatureTable table(rows);
  table.add_codes(codes, 5);
  table.add_bags(offsets, bag, weights, 4);
  table.add_numbers(numbers);
  table.add_codes(own, rows);
  return table;
}

/// The layers of a usual tower: Dense, Gelu, LayerNorm, L2Normalize.
inline nn::Sequential usual_layers(Index in, Index out) {
  return nn::Sequential(in, {nn::Dense{in, out}, nn::Gelu{out}, nn::LayerNorm{out}, nn::L2Normalize{out}});
}

/// A tower over columns 0, 1 and 2 of mixed_features, with tables `first_table` (5 rows) and the next (4 rows).
inline model::TowerSpec mixed_tower(model::Join join, nn::Sequential (*layers)(Index, Index), Index out, Index first_table = 0) {
  const bool sum = join == model::Join::kSum;
  const Index widths[] = {6, sum ? Index{6} : 3, sum ? Index{6} : 2};
  return {{{0, first_table, nn::Embedding{widths[0]}},
           {1, first_table + 1, nn::Bag{widths[1], nn::Pooling::kSqrtN}},
           {2, -1, nn::Numeric{widths[2], 0.5}}},
          join,
          layers(sum ? 6 : 11, out)};
}

inline std::vector<model::TableSpec> mixed_tables(model::Join join) {
  return {{"codes", 5, 6}, {"bags", 4, join == model::Join::kSum ? Index{6} : 3}};
}

/// A tower that looks a row's own vector up in `table` and does no more.
inline model::TowerSpec lookup_tower(Index table, Index width, Index column = 3) {
  return {{{column, table, nn::Embedding{width}}}, model::Join::kSum, nn::Sequential(width)};
}

/// `count` rows of [0, bound), in no order, with repeats.
inline std::vector<Row> random_rows(Index count, Index bound) {
  RandomStream random(77, Purpose::kTest);
  std::vector<Row> rows;
  for (Index k = 0; k < count; ++k) rows.push_back(static_cast<Row>(random.below(bound)));
  return rows;
}

template <class A, class B>
bool same_bits(const A& a, const B& b) {
  const Matrix<typename A::Scalar> left = a, right = b;
  return left.rows() == right.rows() && left.cols() == right.cols() &&
         (left.size() == 0 ||
          std::memcmp(left.data(), right.data(), sizeof(typename A::Scalar) * static_cast<std::size_t>(left.size())) == 0);
}

template <class Scalar>
bool same_bits(const nn::Parameters<Scalar>& a, const nn::Parameters<Scalar>& b) {
  bool same = a.tables.size() == b.tables.size() && a.arena == b.arena;
  for (std::size_t k = 0; same && k < a.tables.size(); ++k) same = same_bits(a.tables[k].values, b.tables[k].values);
  return same;
}

}  // namespace twotower::test
