#pragma once
// Small PairScorers of every shape with data to run them on, for the tests of model, ranking and trainer.
#include <algorithm>
#include <string>
#include <vector>

#include "support/small_towers.hpp"
#include "twotower/model/pair_scorer.hpp"

namespace twotower::test {

inline constexpr Index kPairUsers = 9, kPairItems = 7, kPairContexts = 12;

enum class PairShape { kDot, kDeep, kNeuMF, kFactors, kContext };

inline nn::Sequential dense_layers(Index in, Index out) { return nn::Sequential(in, {nn::Dense{in, out}, nn::Gelu{out}}); }

inline nn::Layer side_by_side(nn::Sequential left, nn::Sequential right) {
  return nn::Parallel(std::move(left), std::move(right));
}

/// kDot      ids and a history, SVD++ with biases: <u, v> + b_u + b_i
/// kDeep     towers over every kind of column that meet in all four ways under a cross network and dropout
/// kNeuMF    one id table, whose halves go a product's and a perceptron's way (He et al. 2017, arXiv:1708.05031)
/// kFactors  three fields under a factorization machine
/// kContext  the user is what the context says
inline model::PairScorerSpec pair_model(PairShape shape) {
  using model::Join;
  model::PairScorerSpec spec{lookup_tower(0, 4), lookup_tower(1, 4), {}, {}, {}, nn::Sequential(1), {}, 0.5, 0.5, 3};
  spec.tables = {{"users", kPairUsers, 4}, {"items", kPairItems, 4}};
  if (shape == PairShape::kDot) {
    spec.meeting = {false, false, true, false};
    spec.user.sequences = {
        {model::SequenceSpec::kHistory, {{3, 2, nn::Embedding{4}}}, nn::MeanPool{4, 1, nn::MeanLength::kRoot}}};
    spec.user_bias = lookup_tower(3, 1);
    spec.item_bias = model::TowerSpec{{{3, 4, nn::Embedding{1}}, {1, 5, nn::Bag{1}}}, Join::kSum, nn::Sequential(1)};
    for (const auto& [name, rows] : {std::pair<std::string, Index>{"user biases", kPairUsers}, {"item biases", kPairItems}})
      spec.tables.push_back({name, rows, 1});
    spec.tables.insert(spec.tables.begin() + 2, {"history", kPairItems, 4});
    spec.tables.push_back({"bag biases", 4, 1});
  } else if (shape == PairShape::kDeep) {
    spec.meeting = {true, true, true, true};
    spec.user = mixed_tower(Join::kConcatenate, dense_layers, 5);
    spec.item = mixed_tower(Join::kSum, dense_layers, 5, 2);
    spec.user_bias = lookup_tower(4, 1);
    spec.tables = mixed_tables(Join::kConcatenate);
    for (model::TableSpec table : mixed_tables(Join::kSum))
      spec.tables.push_back({"item " + table.name, table.rows, table.width});
    spec.tables.push_back({"user biases", kPairUsers, 1});
    spec.head =
        nn::Sequential(17, {nn::CrossNetwork{17, 2, 3}, nn::Dense{17, 6}, nn::Gelu{6}, nn::Dropout{6, 0.7, 9}, nn::Dense{6, 1}});
  } else if (shape == PairShape::kNeuMF) {  // [u_3 u_4 | v_3 v_4 | u v]
    spec.meeting = {true, true, false, false};
    spec.user = lookup_tower(0, 7);
    spec.item = lookup_tower(1, 7);
    spec.tables = {{"users", kPairUsers, 7}, {"items", kPairItems, 7}};
    const auto slice = [](Index begin, Index width) { return nn::Sequential(21, {nn::Slice{21, begin, width}}); };
    const nn::Sequential perceptron(21, {side_by_side(slice(3, 4), slice(10, 4)), nn::Dense{8, 5}, nn::Gelu{5}});
    spec.head = nn::Sequential(21, {side_by_side(slice(14, 3), perceptron), nn::Dense{8, 1}});
  } else if (shape == PairShape::kFactors) {
    spec.meeting = {true, false, false, false};
    spec.user = {{{3, 0, nn::Embedding{3}}, {0, 2, nn::Embedding{3}}}, Join::kConcatenate, nn::Sequential(6)};
    spec.item = lookup_tower(1, 3);
    spec.tables = {{"users", kPairUsers, 3}, {"items", kPairItems, 3}, {"codes", 5, 3}};
    spec.head = nn::Sequential(9, {nn::FactorizationMachine{3, 3}, nn::Dense{3, 1}});
  } else {
    spec.meeting = {false, true, false, false};
    spec.user.inputs.push_back({0, 2, nn::Embedding{4}, true});
    spec.user_bias = model::TowerSpec{{{3, 3, nn::Embedding{1}, true}}, Join::kSum, nn::Sequential(1)};
    spec.tables.push_back({"context codes", 5, 4});
    spec.tables.push_back({"context biases", kPairContexts, 1});
    spec.head = nn::Sequential(4, {nn::Dense{4, 3}, nn::Gelu{3}, nn::Dense{3, 1}});
  }
  return spec;
}

inline bool has_context(PairShape shape) { return shape == PairShape::kContext; }

/// Tables for such models and a batch of pairs: some users twice, some without a pair, items in no order.
struct PairData {
  data::FeatureTable users = mixed_features(kPairUsers, 1), items = mixed_features(kPairItems, 2),
                     contexts = mixed_features(kPairContexts, 3);
  std::vector<Row> user_rows, context_rows, item_rows, user_of_pair, item_of_pair;
  std::vector<float> given;
  data::Histories histories;

  PairData(Index user_count, Index pairs) {
    RandomStream random(41, Purpose::kTest, static_cast<std::uint64_t>(pairs));
    for (Index user = 0; user < user_count; ++user) {
      user_rows.push_back(static_cast<Row>(random.below(kPairUsers)));
      context_rows.push_back(static_cast<Row>(random.below(kPairContexts)));
      for (std::int64_t length = random.below(4); length > 0; --length)
        histories.items.push_back(static_cast<Row>(random.below(kPairItems)));
      histories.end_sequence();
      histories.lengths.push_back(static_cast<std::int32_t>(histories.offsets.back() - histories.offsets.end()[-2]));
      histories.end_readers();
    }
    for (Row item = kPairItems; item-- > 0;) item_rows.push_back(item);
    for (Index pair = 0; pair < pairs; ++pair) {
      user_of_pair.push_back(static_cast<Row>(random.below(user_count)));
      item_of_pair.push_back(static_cast<Row>(random.below(kPairItems)));
      given.push_back(static_cast<float>(random.normal()));
    }
    std::sort(user_of_pair.begin(), user_of_pair.end());
  }

  model::SideData user_side(PairShape shape) const {
    return {users, has_context(shape) ? &contexts : nullptr,
            shape == PairShape::kDot ? std::vector<const data::FeatureTable*>{&items} : std::vector<const data::FeatureTable*>{}};
  }

  model::TowerRows rows_of_users(PairShape shape) const {
    return {user_rows, has_context(shape) ? std::span<const Row>(context_rows) : std::span<const Row>{}, &histories};
  }

  model::PairRows rows(PairShape shape) const { return {rows_of_users(shape), item_rows, user_of_pair, item_of_pair, given}; }
};

}  // namespace twotower::test
