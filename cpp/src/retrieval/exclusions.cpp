#include "twotower/retrieval/exclusions.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "twotower/base/check.hpp"

namespace twotower::retrieval {
namespace {

constexpr Index kQueryBlock = 256;

bool offsets_fit(const SeenLists& seen, std::size_t list) {
  const std::int64_t begin = seen.offsets[list], end = seen.offsets[list + 1];
  return begin >= 0 && begin <= end && end <= static_cast<std::int64_t>(seen.items.size());
}

bool list_is_good(const SeenLists& seen, Index query, Index num_items) {
  const Row list = seen.list_of_query[static_cast<std::size_t>(query)];
  if (list < 0) return true;
  if (static_cast<std::size_t>(list) + 1 >= seen.offsets.size() || !offsets_fit(seen, static_cast<std::size_t>(list)))
    return false;
  const std::span<const Row> items = seen.of(query);
  return items.empty() || (std::is_sorted(items.begin(), items.end()) && items.front() >= 0 && items.back() < num_items);
}

std::string entry(std::string_view name, std::size_t position, std::int64_t value) {
  return std::string(name) + "[" + std::to_string(position) + "] is " + std::to_string(value);
}

void fail_for(std::string_view function, const SeenLists& seen, std::size_t query, Index num_items) {
  const Row row = seen.list_of_query[query];
  const auto list = static_cast<std::size_t>(row);
  if (list + 1 >= seen.offsets.size())
    fail(function, entry("seen_of_query", query, row) + ", but must be below " +
                       std::to_string(seen.offsets.empty() ? 0 : seen.offsets.size() - 1) +
                       ", the number of lists; give a negative number where there is no list");
  if (!offsets_fit(seen, list))
    fail(function, entry("seen_offsets", list + 1, seen.offsets[list + 1]) + " and " +
                       entry("seen_offsets", list, seen.offsets[list]) + ", but offsets must ascend from 0 to " +
                       std::to_string(seen.items.size()) + ", the size of seen_items");
  const auto begin = static_cast<std::size_t>(seen.offsets[list]), end = static_cast<std::size_t>(seen.offsets[list + 1]);
  check_rows(function, "seen_items", seen.items.first(end), num_items);
  for (std::size_t i = begin + 1; i < end; ++i)
    if (seen.items[i] < seen.items[i - 1])
      fail(function, entry("seen_items", i, seen.items[i]) + ", but must not be below seen_items[" + std::to_string(i - 1) +
                         "], which is " + std::to_string(seen.items[i - 1]) + "; sort each list");
}

}  // namespace

void check_seen(std::string_view function, const SeenLists& seen, Index num_queries, Index num_items, const Threads& threads) {
  check_size(function, "the size of seen_of_query", static_cast<Index>(seen.list_of_query.size()), "the number of queries",
             num_queries);
  const Index blocks = (num_queries + kQueryBlock - 1) / kQueryBlock;
  std::vector<Index> bad(static_cast<std::size_t>(blocks), num_queries);
  threads.for_blocks(num_queries, kQueryBlock, [&](Index begin, Index end, Index block) {
    for (Index query = begin; query < end; ++query)
      if (!list_is_good(seen, query, num_items)) {
        bad[static_cast<std::size_t>(block)] = query;
        return;
      }
  });
  for (const Index query : bad)
    if (query < num_queries) [[unlikely]]
      fail_for(function, seen, static_cast<std::size_t>(query), num_items);
}

}  // namespace twotower::retrieval
