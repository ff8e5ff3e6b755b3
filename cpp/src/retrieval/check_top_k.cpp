#include "twotower/retrieval/check_top_k.hpp"

#include <limits>
#include <sstream>

#include "twotower/base/check.hpp"
#include "twotower/retrieval/packed_items.hpp"

namespace twotower::retrieval {
namespace {

// With finite vectors a score can only be infinite or NaN if a partial sum overflows; rounding adds far less than the factor of
// two.
void check_overflow(Index width, float largest, float largest_query) {
  const double most = static_cast<double>(width) * largest * largest_query;
  const double limit = std::numeric_limits<float>::max() / 2;
  if (most <= limit) [[likely]]
    return;
  std::ostringstream message;
  message << "the largest possible score is " << most << ", but must be at most " << limit << "; scale queries or items down";
  fail("top_k", message.str());
}

}  // namespace

void check_top_k(Index items, Index width, float largest, ConstRows<float> queries, Index k, const Filters& filters,
                 const Threads& threads, const Rows<Row>& rows, const Rows<float>& scores) {
  check_at_least("top_k", "k", k, 1);
  check_size("top_k", "the width of queries", queries.cols(), "the width of the items", width);
  check_size("top_k", "the number of result rows", rows.rows(), "the number of queries", queries.rows());
  check_size("top_k", "the number of result scores", scores.rows(), "the number of queries", queries.rows());
  check_size("top_k", "the width of the result rows", rows.cols(), "k", k);
  check_size("top_k", "the width of the result scores", scores.cols(), "k", k);
  check_filters("top_k", filters, queries.rows(), items, threads);
  check_overflow(width, largest, check_vectors("top_k", "queries", queries, threads));
}

}  // namespace twotower::retrieval
