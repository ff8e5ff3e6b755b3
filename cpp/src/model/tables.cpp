#include "twotower/model/tables.hpp"

#include <algorithm>
#include <cmath>

#include "twotower/base/check.hpp"

namespace twotower::model {

template <class Scalar>
void add_tables(std::string_view function, const std::vector<TableSpec>& specs, double deviation, std::uint64_t seed,
                nn::Parameters<Scalar>& parameters) {
  if (!(deviation >= 0) || !std::isfinite(deviation))
    fail(function, "deviation is " + shown(deviation) + ", but must be a finite number of at least 0");
  for (const TableSpec& spec : specs) {
    check_at_least(function, "rows of table '" + spec.name + "'", spec.rows, 1);
    check_at_least(function, "width of table '" + spec.name + "'", spec.width, 1);
    auto& tables = parameters.tables;
    if (std::any_of(tables.begin(), tables.end(), [&](const auto& table) { return table.name == spec.name; }))
      fail(function, "the name of table " + std::to_string(tables.size()) + " is '" + spec.name +
                         "', but another table has it; give each its own");
    auto& values =
        tables.emplace_back(nn::Table<Scalar>{spec.name, nn::rows_on_huge_pages<Scalar>(spec.rows, spec.width)}).values;
    if (deviation > 0)
      nn::initialize_rows(values, deviation, seed, tables.size() - 1);
    else
      values.setZero();
  }
}

template void add_tables(std::string_view, const std::vector<TableSpec>&, double, std::uint64_t, nn::Parameters<float>&);
template void add_tables(std::string_view, const std::vector<TableSpec>&, double, std::uint64_t, nn::Parameters<double>&);

}  // namespace twotower::model
