#include "twotower/retrieval/exclusions.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "twotower/base/check.hpp"

namespace twotower::retrieval {
namespace {

constexpr Index kQueryBlock = 256;

bool offsets_fit(const ItemLists& lists, std::size_t list) {
  const std::int64_t begin = lists.offsets[list], end = lists.offsets[list + 1];
  return begin >= 0 && begin <= end && end <= static_cast<std::int64_t>(lists.items.size());
}

bool list_is_good(const ItemLists& lists, Index query, Index num_items) {
  const Row list = lists.list_of_query[static_cast<std::size_t>(query)];
  if (list < 0) return true;
  if (static_cast<std::size_t>(list) + 1 >= lists.offsets.size() || !offsets_fit(lists, static_cast<std::size_t>(list)))
    return false;
  const std::span<const Row> items = lists.of(query);
  return items.empty() || (std::is_sorted(items.begin(), items.end()) && items.front() >= 0 && items.back() < num_items);
}

std::string entry(std::string_view name, std::size_t position, std::int64_t value) {
  return std::string(name) + "[" + std::to_string(position) + "] is " + std::to_string(value);
}

void fail_for(std::string_view function, std::string_view name, const ItemLists& lists, std::size_t query, Index num_items) {
  const std::string of_query = std::string(name) + "_of_query", offsets = std::string(name) + "_offsets",
                    items = std::string(name) + "_items";
  const Row row = lists.list_of_query[query];
  const auto list = static_cast<std::size_t>(row);
  if (list + 1 >= lists.offsets.size())
    fail(function, entry(of_query, query, row) + ", but must be below " +
                       std::to_string(lists.offsets.empty() ? 0 : lists.offsets.size() - 1) +
                       ", the number of lists; give a negative number where there is no list");
  if (!offsets_fit(lists, list))
    fail(function, entry(offsets, list + 1, lists.offsets[list + 1]) + " and " + entry(offsets, list, lists.offsets[list]) +
                       ", but offsets must ascend from 0 to " + std::to_string(lists.items.size()) + ", the size of " + items);
  const auto begin = static_cast<std::size_t>(lists.offsets[list]), end = static_cast<std::size_t>(lists.offsets[list + 1]);
  check_rows(function, items, lists.items.first(end), num_items);
  for (std::size_t i = begin + 1; i < end; ++i)
    if (lists.items[i] < lists.items[i - 1])
      fail(function, entry(items, i, lists.items[i]) + ", but must not be below " + items + "[" + std::to_string(i - 1) +
                         "], which is " + std::to_string(lists.items[i - 1]) + "; sort each list");
}

}  // namespace

ListWalk::ListWalk(std::span<const Row> list, Row first)
    : at_(std::lower_bound(list.data(), list.data() + list.size(), first)), end_(list.data() + list.size()) {}

void check_lists(std::string_view function, std::string_view name, const ItemLists& lists, Index num_queries, Index num_items,
                 const Threads& threads) {
  check_size(function, "the size of " + std::string(name) + "_of_query", static_cast<Index>(lists.list_of_query.size()),
             "the number of queries", num_queries);
  const Index blocks = (num_queries + kQueryBlock - 1) / kQueryBlock;
  std::vector<Index> bad(static_cast<std::size_t>(blocks), num_queries);
  threads.for_blocks(num_queries, kQueryBlock, [&](Index begin, Index end, Index block) {
    for (Index query = begin; query < end; ++query)
      if (!list_is_good(lists, query, num_items)) {
        bad[static_cast<std::size_t>(block)] = query;
        return;
      }
  });
  for (const Index query : bad)
    if (query < num_queries) [[unlikely]]
      fail_for(function, name, lists, static_cast<std::size_t>(query), num_items);
}

void check_filters(std::string_view function, const Filters& filters, Index num_queries, Index num_items,
                   const Threads& threads) {
  if (filters.allowed)
    check_size(function, "the size of allowed", static_cast<Index>(filters.allowed->size()), "the number of items", num_items);
  if (filters.seen) check_lists(function, "seen", *filters.seen, num_queries, num_items, threads);
  if (filters.denied) check_lists(function, "denied", *filters.denied, num_queries, num_items, threads);
  if (filters.listed) check_lists(function, "allowed", *filters.listed, num_queries, num_items, threads);
}

}  // namespace twotower::retrieval
