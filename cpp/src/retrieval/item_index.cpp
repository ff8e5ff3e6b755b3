#include "twotower/retrieval/item_index.hpp"

#include "twotower/base/check.hpp"
#include "twotower/retrieval/screen.hpp"
#include "twotower/retrieval/top_k.hpp"

namespace twotower::retrieval {
namespace {

constexpr Index kScreenFrom = 50000;  // items

bool choose_screen(ConstRows<float> items, std::optional<bool> screen) {
  if (!screen) return has_screen() && items.rows() >= kScreenFrom && items.cols() <= kScreenMaxWidth;
  if (*screen && !has_screen()) [[unlikely]]
    fail("ItemIndex",
         "screen is True, but this CPU or the module in use has no 8-bit products of 512 bits (AVX-512 with VNNI); give None "
         "or False");
  return *screen;
}

std::variant<PackedItems, ScreenedItems> make(ConstRows<float> items, const Threads& threads, bool screen) {
  if (screen) return ScreenedItems(items, threads);
  return PackedItems(items, threads);
}

}  // namespace

ItemIndex::ItemIndex(ConstRows<float> items, const Threads& threads, std::optional<bool> screen)
    : items_(make(items, threads, choose_screen(items, screen))) {}

void ItemIndex::append(ConstRows<float> items, const Threads& threads) {
  std::visit([&](auto& form) { form.append(items, threads); }, items_);
}

void ItemIndex::replace(std::span<const Row> rows, ConstRows<float> items, const Threads& threads) {
  std::visit([&](auto& form) { form.replace(rows, items, threads); }, items_);
}

Index ItemIndex::rows() const {
  return std::visit([](const auto& form) { return form.rows(); }, items_);
}

Index ItemIndex::width() const {
  return std::visit([](const auto& form) { return form.width(); }, items_);
}

Index ItemIndex::memory_bytes() const {
  return std::visit([](const auto& form) { return form.memory_bytes(); }, items_);
}

void ItemIndex::top_k(ConstRows<float> queries, Index k, const Filters& filters, const Threads& threads, Rows<Row> rows,
                      Rows<float> scores) const {
  if (const auto* screened = std::get_if<ScreenedItems>(&items_))
    screened_top_k(*screened, queries, k, filters, threads, rows, scores);
  else
    retrieval::top_k(std::get<PackedItems>(items_), queries, k, filters, threads, rows, scores);
}

}  // namespace twotower::retrieval
