#pragma once
// The tables of embeddings that a model's inputs name by their numbers.
#include <string>
#include <string_view>
#include <vector>

#include "twotower/nn/parameters.hpp"

namespace twotower::model {

struct TableSpec {
  std::string name;
  Index rows, width;
};

/// Appends the tables with their first values, N(0, deviation).
///
/// Throws      invalid_argument for a table without rows or columns, a name that another one has, or a deviation that is no
///             finite number of at least 0
template <class Scalar>
void add_tables(std::string_view function, const std::vector<TableSpec>& specs, double deviation, std::uint64_t seed,
                nn::Parameters<Scalar>& parameters);

}  // namespace twotower::model
