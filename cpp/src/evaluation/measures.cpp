#include "twotower/evaluation/measures.hpp"

namespace twotower::evaluation {

void check_ranked(std::string_view function, ConstRows<Row> ranked) {
  for (Index query = 0; query < ranked.rows(); ++query)
    for (Index rank = 0; rank < ranked.cols(); ++rank) {
      const Row row = ranked(query, rank);
      const bool after_end = row >= 0 && rank > 0 && ranked(query, rank - 1) == -1;
      if (row >= -1 && !after_end) [[likely]]
        continue;
      fail(function,
           "ranked[" + std::to_string(query) + ", " + std::to_string(rank) + "] is " + std::to_string(row) +
               (after_end ? " and follows -1, but -1 must end a list" : ", but must be an item row, or -1 at the end of a list"));
    }
}

}  // namespace twotower::evaluation
