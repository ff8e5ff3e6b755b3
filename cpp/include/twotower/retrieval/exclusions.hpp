#pragma once
// Which items may come back for which query: views of the caller's arrays, nothing is copied.
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"

namespace twotower::retrieval {

/// A list of items for each query: list list_of_query[query], none if that is negative. Queries may share a list.
///
/// Shapes      list_of_query (queries)    offsets (lists + 1)    items (all lists, one after the other)
/// Requires    within a list rows ascend (repeats are allowed)
struct ItemLists {
  std::span<const Row> list_of_query;
  std::span<const std::int64_t> offsets;
  std::span<const Row> items;

  bool has(Index query) const { return list_of_query[static_cast<std::size_t>(query)] >= 0; }

  /// The rows of a query's list, empty without one. Call after check_lists.
  std::span<const Row> of(Index query) const {
    if (!has(query)) return {};
    const auto list = static_cast<std::size_t>(list_of_query[static_cast<std::size_t>(query)]);
    const auto begin = static_cast<std::size_t>(offsets[list]);
    return items.subspan(begin, static_cast<std::size_t>(offsets[list + 1]) - begin);
  }
};

/// Filters of one call; without a member nothing is left out, and an item must pass all that are there.
struct Filters {
  std::optional<ItemLists> seen;                         // do not come back
  std::optional<ItemLists> denied;                       // nor do these
  std::optional<ItemLists> listed;                       // where a query has such a list, nothing else comes back
  std::optional<std::span<const std::uint8_t>> allowed;  // (items), 0: never comes back
};

/// Walks one list beside rows that ascend, and tells which of them are not in it.
class ListWalk {
 public:
  ListWalk() = default;

  /// Rows from `first` on matter.
  ListWalk(std::span<const Row> list, Row first);

  bool passes(Row row) {
    while (at_ != end_ && *at_ < row) ++at_;
    return at_ == end_ || *at_ != row;
  }

  /// The rows not yet passed.
  std::span<const Row> rest() const { return {at_, end_}; }

 private:
  const Row* at_ = nullptr;  // the first row of the list not yet passed
  const Row* end_ = nullptr;
};

/// What a query must not get back beside what `allowed` says.
class Exclusions {
 public:
  Exclusions() = default;

  /// Rows from `first` on matter.
  Exclusions(const Filters& filters, Index query, Row first) {
    if (filters.seen) seen_ = ListWalk(filters.seen->of(query), first);
    if (filters.denied) denied_ = ListWalk(filters.denied->of(query), first);
  }

  /// Requires    rows ascend from call to call
  bool pass(Row row) { return seen_.passes(row) && denied_.passes(row); }

  /// body(row) for what is left out from here on; a row of both lists comes twice.
  template <class Body>
  void for_each(const Body& body) const {
    for (const Row row : seen_.rest()) body(row);
    for (const Row row : denied_.rest()) body(row);
  }

 private:
  ListWalk seen_, denied_;
};

/// Checks the lists that the queries use and nothing else, so that one query against the lists of everybody stays cheap.
///
/// Throws      invalid_argument for sizes, for offsets outside `items` and for a list that is not sorted; out_of_range for an
///             item outside the catalogue. Arguments are named with `name` before _of_query, _offsets and _items; the first query
///             with a mistake is the one that is named.
void check_lists(std::string_view function, std::string_view name, const ItemLists& lists, Index num_queries, Index num_items,
                 const Threads& threads);

/// Checks every filter of a call.
void check_filters(std::string_view function, const Filters& filters, Index num_queries, Index num_items, const Threads& threads);

}  // namespace twotower::retrieval
