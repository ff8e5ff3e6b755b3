#pragma once
// Two towers that meet in a dot product.
#include <string>
#include <vector>

#include "twotower/model/tables.hpp"
#include "twotower/model/tower.hpp"

namespace twotower::model {

struct TwoTowerSpec {
  TowerSpec query, item;
  std::vector<TableSpec> tables;
  double temperature = 0.2;
  bool item_bias = true;    // a learned number for each code of the item's id, in a table of its own behind the others
  Index bias_rows = 0;      // codes of the item's id, 0 for the unknown included
  double deviation = 0.01;  // of the tables' first values
  std::uint64_t seed = 0;
};

/// score(query, item) = <query vector, item vector> / temperature + bias of the item; cosine where both towers end in
/// L2Normalize.
///
/// The vectors that leave the model carry temperature and bias with them, so that their plain dot product is the score:
/// query [u / temperature, 1] and item [v, bias].
template <class Scalar>
class TwoTower {
 public:
  /// Throws invalid_argument where widths do not fit, a table is empty or shares its name, a number is out of range, or there is
  /// an item bias and the item tower's first input is no Embedding (that of the id, whose codes the bias belongs to).
  explicit TwoTower(const TwoTowerSpec& spec);

  const Tower& query() const { return query_; }
  const Tower& item() const { return item_; }
  double temperature() const { return temperature_; }

  /// Number of the bias table, or -1.
  Index bias_table() const { return bias_table_; }

  nn::Parameters<Scalar>& parameters() { return parameters_; }
  const nn::Parameters<Scalar>& parameters() const { return parameters_; }

  /// Width of both sides' outgoing vectors: the towers', and one more with an item bias.
  Index vector_width() const { return query_.out_width() + (bias_table_ >= 0 ? 1 : 0); }

  /// Rows of the bias table that these items read; the codes of their ids.
  std::vector<Row> bias_rows(const data::FeatureTable& items, std::span<const Row> rows) const;

  /// out (rows, vector_width)
  void query_vectors(const SideData& data, const TowerRows& rows, Rows<Scalar> out, const Threads& threads) const;
  void item_vectors(const SideData& data, const TowerRows& rows, Rows<Scalar> out, const Threads& threads) const;

 private:
  Tower query_, item_;
  double temperature_;
  Index bias_table_;
  nn::Parameters<Scalar> parameters_;
};

}  // namespace twotower::model
