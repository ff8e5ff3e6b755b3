#include "twotower/model/explain.hpp"

#include <algorithm>

#include "twotower/base/check.hpp"

namespace twotower::model {
namespace {

/// One tower's vector of one entity, whole and without each of its parts.
template <class Scalar>
struct Taken {
  Matrix<Scalar> parts;     // (parts, joined width): each alone, zeros elsewhere
  Matrix<Scalar> without;   // (parts, out width)
  RowVector<Scalar> whole;  // (out width)
  bool exact = false;
  double length = 1;  // of the joined vector, where L2Normalize divides by it
};

template <class Scalar>
RowVector<Scalar> apply(const Tower& tower, const nn::Parameters<Scalar>& parameters, const RowVector<Scalar>& joined) {
  const Matrix<Scalar> x = joined;
  Matrix<Scalar> y(1, tower.out_width()), cache(1, tower.layers().cache_width());
  tower.layers().template forward<Scalar>(parameters.arena.data() + tower.layers_arena(), x, y, cache, nn::Pass{});
  return y.row(0);
}

/// Each part's share of the joined vector, by reading the tower once a part.
template <class Scalar>
Taken<Scalar> take_apart(const Tower& tower, const nn::Parameters<Scalar>& parameters, const SideData& data,
                         const TowerRows& row) {
  Taken<Scalar> taken;
  taken.parts = tower.parts(parameters, data, row);
  const RowVector<Scalar> joined = taken.parts.colwise().sum();
  taken.whole = apply<Scalar>(tower, parameters, joined);
  taken.without.resize(taken.parts.rows(), tower.out_width());
  for (Index part = 0; part < taken.parts.rows(); ++part)
    taken.without.row(part) = apply<Scalar>(tower, parameters, joined - taken.parts.row(part));
  bool normalized = false;
  taken.exact = true;
  for (const nn::Layer& layer : tower.layers().layers()) {
    taken.exact = taken.exact && !normalized &&
                  (std::holds_alternative<nn::L2Normalize>(layer) || std::holds_alternative<nn::Dropout>(layer));
    if (const auto* normalize = std::get_if<nn::L2Normalize>(&layer)) {
      normalized = true;
      taken.length = std::max(static_cast<double>(joined.norm()), normalize->epsilon);
    }
  }
  return taken;
}

template <class Scalar>
std::vector<double> shares(const Taken<Scalar>& side, const RowVector<Scalar>& other, double temperature) {
  std::vector<double> made;
  for (Index part = 0; part < side.parts.rows(); ++part) {
    const double product = side.exact ? static_cast<double>(side.parts.row(part).dot(other)) / side.length
                                      : static_cast<double>((side.whole - side.without.row(part)).dot(other));
    made.push_back(product / temperature);
  }
  return made;
}

}  // namespace

template <class Scalar>
Explanation explain(const TwoTower<Scalar>& model, const SideData& queries, const TowerRows& query, const SideData& items,
                    const TowerRows& item) {
  check_size("explain", "number of query rows", std::ssize(query.entities), "what is explained at once", 1);
  check_size("explain", "number of item rows", std::ssize(item.entities), "what is explained at once", 1);
  model.query().check(queries, model.parameters());
  model.item().check(items, model.parameters());
  check_rows("explain", "query row", query.entities, queries.entities->rows());
  check_rows("explain", "item row", item.entities, items.entities->rows());
  const auto u = take_apart(model.query(), model.parameters(), queries, query);
  const auto v = take_apart(model.item(), model.parameters(), items, item);
  Explanation made{shares(u, v.whole, model.temperature()), shares(v, u.whole, model.temperature()), 0, u.exact, v.exact};
  if (model.bias_table() >= 0) {
    const Row code = model.bias_rows(*items.entities, item.entities)[0];
    made.bias = static_cast<double>(model.parameters().tables[static_cast<std::size_t>(model.bias_table())].values(code, 0));
  }
  return made;
}

template Explanation explain(const TwoTower<float>&, const SideData&, const TowerRows&, const SideData&, const TowerRows&);
template Explanation explain(const TwoTower<double>&, const SideData&, const TowerRows&, const SideData&, const TowerRows&);

}  // namespace twotower::model
