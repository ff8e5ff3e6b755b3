#pragma once
// Which items may come back for which query: views of the caller's arrays, nothing is copied.
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"

namespace twotower::retrieval {

/// Items that a query must not get back: those of list list_of_query[query], none if that is negative. Queries may share a list.
///
/// Shapes      list_of_query (queries)    offsets (lists + 1)    items (all lists, one after the other)
/// Requires    within a list rows ascend (repeats are allowed)
struct SeenLists {
  std::span<const Row> list_of_query;
  std::span<const std::int64_t> offsets;
  std::span<const Row> items;

  /// Call after check_seen.
  std::span<const Row> of(Index query) const {
    const Row list = list_of_query[static_cast<std::size_t>(query)];
    if (list < 0) return {};
    const auto begin = static_cast<std::size_t>(offsets[static_cast<std::size_t>(list)]);
    return items.subspan(begin, static_cast<std::size_t>(offsets[static_cast<std::size_t>(list) + 1]) - begin);
  }
};

/// Filters of one call; without a member nothing is left out.
struct Filters {
  std::optional<SeenLists> seen;
  std::optional<std::span<const std::uint8_t>> allowed;  // (items), 0: never comes back
};

/// Checks the lists that the queries use and nothing else, so that one query against the lists of everybody stays cheap.
///
/// Throws      invalid_argument for sizes, for offsets outside `items` and for a list that is not sorted; out_of_range for a list
/// or
///             an item outside its table. The first query with a mistake is the one that is named.
void check_seen(std::string_view function, const SeenLists& seen, Index num_queries, Index num_items, const Threads& threads);

}  // namespace twotower::retrieval
