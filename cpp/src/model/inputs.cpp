#include "twotower/model/inputs.hpp"

#include <string>
#include <type_traits>

#include "twotower/base/check.hpp"

namespace twotower::model {
namespace {

constexpr const char* kName = "Inputs";
constexpr unsigned kPositionBits = 40;  // of a stream's row key; the table's number stands above

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

Index width_of(const Encoder& encoder) {
  return std::visit([](const auto& e) { return e.width; }, encoder);
}

nn::Lists lists_of(const data::Bags& bags) { return {bags.offsets, bags.codes, bags.weights}; }

ConstRowMap<float> matrix_of(const data::Vectors& vectors) {
  return {vectors.values.data(), std::ssize(vectors.values) / vectors.width, vectors.width, Eigen::OuterStride<>(vectors.width)};
}

/// Parameters in the arena; encoders over a table have none there.
Index arena_size(const Encoder& encoder) {
  return std::visit(
      [](const auto& e) -> Index {
        if constexpr (requires { e.parameter_count(); })
          return e.parameter_count();
        else
          return 0;
      },
      encoder);
}

const data::FeatureTable& table_of(const Input& input, const Tables& tables) {
  return input.context ? *tables.contexts : *tables.entities;
}

std::span<const Row> rows_of(const Input& input, const TableRows& rows) { return input.context ? rows.contexts : rows.entities; }

bool kind_fits(const Encoder& encoder, const data::Column& column) {
  return std::visit(Overloaded{[&](const nn::Embedding&) { return std::holds_alternative<data::Codes>(column); },
                               [&](const nn::Bag&) { return std::holds_alternative<data::Bags>(column); },
                               [&](const nn::Numeric&) { return std::holds_alternative<data::Numbers>(column); },
                               [&](const auto&) { return std::holds_alternative<data::Vectors>(column); }},
                    encoder);
}

}  // namespace

Inputs::Inputs(std::vector<Input> inputs, Join join, Index arena_begin) : inputs_(std::move(inputs)) {
  check_at_least(kName, "number of inputs", std::ssize(inputs_), 1);
  Index slice = 0, arena = arena_begin;
  for (const Input& input : inputs_) {
    const Index width = width_of(input.encoder);
    check_at_least(kName, "width of an input", width, 1);
    check_in_range(kName, "unknown_share", input.unknown_share, 0, 1);
    if (join == Join::kSum)
      check_size(kName, "width of an input", width, "width of the first input", width_of(inputs_[0].encoder));
    places_.push_back({join == Join::kSum ? 0 : slice, width, arena});
    slice += width;
    arena += arena_size(input.encoder);
  }
  width_ = join == Join::kSum ? places_[0].width : slice;
  parameter_count_ = arena - arena_begin;
}

template <class Scalar>
void Inputs::check(std::string_view name, const Tables& tables, const nn::Parameters<Scalar>& parameters) const {
  for (const Input& input : inputs_) {
    if (input.context && !tables.contexts) fail(name, "an input is of the context, but there is no table of contexts");
    const data::FeatureTable& features = table_of(input, tables);
    check_in_range(name, "column of an input", static_cast<double>(input.column), 0, static_cast<double>(features.columns() - 1));
    const auto& column = features.column(input.column);
    if (!kind_fits(input.encoder, column))
      fail(name, "column " + std::to_string(input.column) + " is of another kind than its encoder");
    if (const auto* vectors = std::get_if<data::Vectors>(&column)) {
      const auto* projection = std::get_if<nn::Projection>(&input.encoder);
      check_size(name, "width of column " + std::to_string(input.column), vectors->width, "in_width of its encoder",
                 projection ? projection->in_width : width_of(input.encoder));
    }
    if (arena_size(input.encoder) > 0) continue;
    check_in_range(name, "table of an input", static_cast<double>(input.table), 0,
                   static_cast<double>(std::ssize(parameters.tables)) - 1);
    const auto& table = parameters.tables[static_cast<std::size_t>(input.table)].values;
    check_size(name, "width of table " + std::to_string(input.table), table.cols(), "width of its encoder",
               width_of(input.encoder));
    const auto* codes = std::get_if<data::Codes>(&column);
    check_at_least(name, "rows of table " + std::to_string(input.table), table.rows(),
                   codes ? codes->vocabulary : std::get<data::Bags>(column).vocabulary);
  }
}

template <class Scalar>
void Inputs::initialize(nn::Parameters<Scalar>& parameters, RandomStream& random) const {
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    std::visit(
        [&](const auto& encoder) {
          if constexpr (requires { encoder.parameter_count(); })
            encoder.template initialize<Scalar>(parameters.arena.data() + places_[i].arena, random);
        },
        inputs_[i].encoder);
}

void Inputs::prepare(const Tables& tables, const TableRows& rows, const nn::Pass& pass, InputScratch& scratch) const {
  scratch.codes.resize(inputs_.size());
  scratch.touches.resize(inputs_.size());
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const Input& input = inputs_[i];
    auto& touches = scratch.touches[i];
    touches.clear();
    const auto of = rows_of(input, rows);
    const auto& column = table_of(input, tables).column(input.column);
    if (const auto* embedding = std::get_if<nn::Embedding>(&input.encoder)) {
      const auto& all = std::get<data::Codes>(column).codes;
      auto& codes = scratch.codes[i];
      codes.resize(of.size());
      for (std::size_t k = 0; k < of.size(); ++k) codes[k] = all[static_cast<std::size_t>(of[k])];
      if (pass.training && input.unknown_share > 0)
        for (std::size_t k = 0; k < of.size(); ++k) {
          RandomStream random(pass.seed, Purpose::kUnknown, pass.step,
                              static_cast<std::uint64_t>(k) | static_cast<std::uint64_t>(input.table) << kPositionBits);
          if (random.uniform() < input.unknown_share) codes[k] = 0;
        }
      if (pass.training) embedding->touches(codes, touches);
    } else if (const auto* bag = std::get_if<nn::Bag>(&input.encoder); bag && pass.training) {
      bag->touches(lists_of(std::get<data::Bags>(column)), of, touches);
    }
    if (!rows.trainable.empty())
      std::erase_if(touches, [&](const nn::RowTouch& touch) {
        return rows.trainable[static_cast<std::size_t>(rows.entities[static_cast<std::size_t>(touch.position)])] == 0;
      });
  }
}

template <class Scalar>
void Inputs::forward(const nn::Parameters<Scalar>& parameters, const Tables& tables, const TableRows& rows,
                     const InputScratch& scratch, Index begin, Rows<Scalar> joined) const {
  for (std::size_t i = 0; i < inputs_.size(); ++i) forward_one<Scalar>(i, parameters, tables, rows, scratch, begin, joined);
}

template <class Scalar>
void Inputs::forward_one(std::size_t number, const nn::Parameters<Scalar>& parameters, const Tables& tables,
                         const TableRows& rows, const InputScratch& scratch, Index begin, Rows<Scalar> joined) const {
  const auto first = static_cast<std::size_t>(begin), size = static_cast<std::size_t>(joined.rows());
  const Input& input = inputs_[number];
  const auto& column = table_of(input, tables).column(input.column);
  const auto table = [&] { return parameters.tables[static_cast<std::size_t>(input.table)].view(); };
  const Scalar* own = parameters.arena.data() + places_[number].arena;
  Rows<Scalar> y = joined.middleCols(places_[number].slice, places_[number].width);
  const auto block = rows_of(input, rows).subspan(first, size);
  std::visit(
      Overloaded{[&](const nn::Embedding& e) {
                   e.template forward<Scalar>(table(), std::span(scratch.codes[number]).subspan(first, size), y);
                 },
                 [&](const nn::Bag& e) { e.template forward<Scalar>(table(), lists_of(std::get<data::Bags>(column)), block, y); },
                 [&](const nn::Numeric& e) { e.template forward<Scalar>(own, std::get<data::Numbers>(column).values, block, y); },
                 [&](const auto& e) { e.template forward<Scalar>(own, matrix_of(std::get<data::Vectors>(column)), block, y); }},
      input.encoder);
}

template <class Scalar>
void Inputs::backward(const Tables& tables, const TableRows& rows, Index begin, ConstRows<Scalar> djoined, Scalar* darena) const {
  const auto first = static_cast<std::size_t>(begin), size = static_cast<std::size_t>(djoined.rows());
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const Input& input = inputs_[i];
    const auto& column = table_of(input, tables).column(input.column);
    const auto dy = djoined.middleCols(places_[i].slice, places_[i].width);
    std::visit(
        [&](const auto& e) {
          using E = std::remove_cvref_t<decltype(e)>;
          if constexpr (std::is_same_v<E, nn::Numeric>)
            e.template backward<Scalar>(std::get<data::Numbers>(column).values, rows_of(input, rows).subspan(first, size), dy,
                                        darena + places_[i].arena);
          else if constexpr (requires { e.parameter_count(); })
            e.template backward<Scalar>(matrix_of(std::get<data::Vectors>(column)), rows_of(input, rows).subspan(first, size), dy,
                                        darena + places_[i].arena);
        },
        input.encoder);
  }
}

template <class Scalar>
void Inputs::add_sources(Index table, const InputScratch& scratch, const ConstRowMap<Scalar>& djoined,
                         std::vector<typename nn::RowGradients<Scalar>::Source>& sources) const {
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    if (inputs_[i].table == table)
      sources.push_back(
          {scratch.touches[i],
           {djoined.data() + places_[i].slice, djoined.rows(), places_[i].width, Eigen::OuterStride<>(djoined.outerStride())}});
}

#define TWOTOWER_INSTANTIATE(Scalar)                                                                                        \
  template void Inputs::check(std::string_view, const Tables&, const nn::Parameters<Scalar>&) const;                        \
  template void Inputs::initialize(nn::Parameters<Scalar>&, RandomStream&) const;                                           \
  template void Inputs::forward(const nn::Parameters<Scalar>&, const Tables&, const TableRows&, const InputScratch&, Index, \
                                Rows<Scalar>) const;                                                                        \
  template void Inputs::forward_one(std::size_t, const nn::Parameters<Scalar>&, const Tables&, const TableRows&,            \
                                    const InputScratch&, Index, Rows<Scalar>) const;                                        \
  template void Inputs::add_sources(Index, const InputScratch&, const ConstRowMap<Scalar>&,                                 \
                                    std::vector<nn::RowGradients<Scalar>::Source>&) const;
TWOTOWER_INSTANTIATE(float)
TWOTOWER_INSTANTIATE(double)
template void Inputs::backward(const Tables&, const TableRows&, Index, ConstRows<float>, float*) const;
template void Inputs::backward(const Tables&, const TableRows&, Index, ConstRows<double>, double*) const;

}  // namespace twotower::model
