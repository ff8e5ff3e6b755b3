#include "twotower/model/two_tower.hpp"

#include "twotower/base/check.hpp"

namespace twotower::model {
namespace {

constexpr const char* kName = "TwoTower";
constexpr const char* kBiasName = "item_bias";

void check_bias(const TwoTowerSpec& spec) {
  if (!spec.item_bias) return;
  check_at_least(kName, "bias_rows", spec.bias_rows, 1);
  if (!std::holds_alternative<nn::Embedding>(spec.item.inputs[0].encoder))
    fail(kName, "there is an item bias, but the item tower's first input is no embedding; put that of the id first");
}

}  // namespace

template <class Scalar>
TwoTower<Scalar>::TwoTower(const TwoTowerSpec& spec)
    : query_(spec.query, 0),
      item_(spec.item, query_.parameter_count()),
      temperature_(spec.temperature),
      bias_table_(spec.item_bias ? std::ssize(spec.tables) : -1) {
  check_positive(kName, "temperature", spec.temperature);
  check_size(kName, "out_width of the query tower", query_.out_width(), "out_width of the item tower", item_.out_width());
  check_bias(spec);
  parameters_.arena.resize(static_cast<std::size_t>(query_.parameter_count() + item_.parameter_count()));
  add_tables(kName, spec.tables, spec.deviation, spec.seed, parameters_);
  if (spec.item_bias) add_tables(kName, {{kBiasName, spec.bias_rows, 1}}, 0, spec.seed, parameters_);
  query_.initialize(parameters_, spec.seed, 0);
  item_.initialize(parameters_, spec.seed, 1);
}

template <class Scalar>
std::vector<Row> TwoTower<Scalar>::bias_rows(const data::FeatureTable& items, std::span<const Row> rows) const {
  const auto& codes = std::get<data::Codes>(items.column(item_.inputs().list()[0].column)).codes;
  std::vector<Row> found;
  found.reserve(rows.size());
  for (const Row row : rows) found.push_back(codes[static_cast<std::size_t>(row)]);
  return found;
}

template <class Scalar>
void TwoTower<Scalar>::query_vectors(const SideData& data, const TowerRows& rows, Rows<Scalar> out,
                                     const Threads& threads) const {
  check_size("query_vectors", "columns of out", out.cols(), "vector_width", vector_width());
  query_.encode<Scalar>(parameters_, data, rows, out.leftCols(query_.out_width()), threads);
  out.leftCols(query_.out_width()) *= static_cast<Scalar>(1 / temperature_);
  if (bias_table_ >= 0) out.rightCols(1).setOnes();
}

template <class Scalar>
void TwoTower<Scalar>::item_vectors(const SideData& data, const TowerRows& rows, Rows<Scalar> out, const Threads& threads) const {
  check_size("item_vectors", "columns of out", out.cols(), "vector_width", vector_width());
  item_.encode<Scalar>(parameters_, data, rows, out.leftCols(item_.out_width()), threads);
  if (bias_table_ < 0) return;
  const auto& bias = parameters_.tables[static_cast<std::size_t>(bias_table_)].values;
  const auto codes = bias_rows(*data.entities, rows.entities);
  check_rows("item_vectors", "codes of the ids", codes, bias.rows());
  for (Index k = 0; k < std::ssize(codes); ++k) out(k, out.cols() - 1) = bias(codes[static_cast<std::size_t>(k)], 0);
}

template class TwoTower<float>;
template class TwoTower<double>;

}  // namespace twotower::model
