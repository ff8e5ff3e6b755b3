// What this machine can do: arithmetic and memory loops for a number of threads, printed as JSON lines. _roofs.py compiles and
// runs it.
//
//     roofs MEGABYTES THREADS[,THREADS...] NAME...      names: fma vnni read triad rows; MEGABYTES is the size of all memory
//
// The wide loops are compiled for their instruction set each and chosen at run time, so any x86-64 compiler can build this.
// A figure is the best of several short runs: a limit is what can be reached, and neighbors only take away from it.
#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <immintrin.h>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <vector>

namespace {

constexpr int kChains = 12;  // accumulators: above latency x ports, below the 16 registers that AVX2 has
constexpr std::size_t kRowFloats = 64;
constexpr std::size_t kPrefetch = 16;  // rows ahead

struct Loops {
  const char* name;
  double (*fma)(std::size_t rounds, float factor);                                       // flops done
  float (*read)(const float* x, std::size_t floats);                                     // every value once
  float (*gather)(const float* table, const std::uint32_t* rows, std::size_t count);     // every row named
  void (*update)(float* table, const std::uint32_t* rows, std::size_t count, float by);  // read, add, write
};

volatile float sink;  // keeps what is computed alive

// The four loops on vectors of BYTES, compiled for TARGET. The vectors are the compiler's own, which `a * b + c` makes FMA where
// TARGET has it (-ffp-contract=fast).
#define LOOPS(NAME, BYTES, TARGET)                                                                                    \
  namespace NAME {                                                                                                    \
  using Vector [[gnu::vector_size(BYTES), gnu::may_alias]] = float;                                                   \
  constexpr std::size_t kLanes = BYTES / sizeof(float);                                                               \
  __attribute__((target(TARGET))) double fma(std::size_t rounds, float factor) {                                      \
    Vector x[kChains];                                                                                                \
    const Vector a = Vector{} + factor, b = Vector{} + 1e-3F;                                                         \
    for (int i = 0; i < kChains; ++i) x[i] = b * static_cast<float>(i);                                               \
    for (std::size_t round = 0; round < rounds; ++round)                                                              \
      for (int i = 0; i < kChains; ++i) x[i] = x[i] * a + b;                                                          \
    Vector sum{};                                                                                                     \
    for (int i = 0; i < kChains; ++i) sum += x[i];                                                                    \
    sink = sum[0];                                                                                                    \
    return 2.0 * kLanes * kChains * static_cast<double>(rounds);                                                      \
  }                                                                                                                   \
  __attribute__((target(TARGET))) float read(const float* x, std::size_t floats) {                                    \
    Vector sum[8]{};                                                                                                  \
    const auto* vectors = reinterpret_cast<const Vector*>(x);                                                         \
    for (std::size_t i = 0; i + 8 <= floats / kLanes; i += 8)                                                         \
      for (std::size_t j = 0; j < 8; ++j) sum[j] += vectors[i + j];                                                   \
    return ((sum[0] + sum[1]) + (sum[2] + sum[3]) + (sum[4] + sum[5]) + (sum[6] + sum[7]))[0];                        \
  }                                                                                                                   \
  __attribute__((target(TARGET))) float gather(const float* table, const std::uint32_t* rows, std::size_t count) {    \
    Vector sum[4]{};                                                                                                  \
    for (std::size_t i = 0; i < count; ++i) {                                                                         \
      for (std::size_t line = 0; line < kRowFloats; line += 16)                                                       \
        __builtin_prefetch(table + rows[i + kPrefetch] * kRowFloats + line);                                          \
      const auto* row = reinterpret_cast<const Vector*>(table + rows[i] * kRowFloats);                                \
      for (std::size_t j = 0; j < kRowFloats / kLanes; ++j) sum[j % 4] += row[j];                                     \
    }                                                                                                                 \
    return (sum[0] + sum[1] + sum[2] + sum[3])[0];                                                                    \
  }                                                                                                                   \
  __attribute__((target(TARGET))) void update(float* table, const std::uint32_t* rows, std::size_t count, float by) { \
    for (std::size_t i = 0; i < count; ++i) {                                                                         \
      for (std::size_t line = 0; line < kRowFloats; line += 16)                                                       \
        __builtin_prefetch(table + rows[i + kPrefetch] * kRowFloats + line, 1);                                       \
      auto* row = reinterpret_cast<Vector*>(table + rows[i] * kRowFloats);                                            \
      for (std::size_t j = 0; j < kRowFloats / kLanes; ++j) row[j] += by;                                             \
    }                                                                                                                 \
  }                                                                                                                   \
  }

LOOPS(xmm, 16, "sse2")
LOOPS(ymm, 32, "avx2,fma")
LOOPS(zmm, 64, "avx512f,avx512vl")

std::vector<Loops> loops_of_cpu() {
  std::vector<Loops> found{{"xmm", xmm::fma, xmm::read, xmm::gather, xmm::update}};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    found.push_back({"ymm", ymm::fma, ymm::read, ymm::gather, ymm::update});
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
    found.push_back({"zmm", zmm::fma, zmm::read, zmm::gather, zmm::update});
  return found;
}

// Bytes times bytes added up in int32: 64 products and 64 sums an instruction.
__attribute__((target("avx512f,avx512vnni"))) double vnni(std::size_t rounds) {
  __m512i x[kChains];
  for (auto& chain : x) chain = _mm512_setzero_si512();
  const __m512i a = _mm512_set1_epi32(0x01010101), b = _mm512_set1_epi32(0x01000100);
  for (std::size_t round = 0; round < rounds; ++round)
    for (auto& chain : x) chain = _mm512_dpbusd_epi32(chain, a, b);
  __m512i sum = _mm512_setzero_si512();
  for (const auto& chain : x) sum = _mm512_add_epi32(sum, chain);
  sink = static_cast<float>(_mm512_cvtsi512_si32(sum));
  return 128.0 * kChains * static_cast<double>(rounds);
}

// --- threads and time ------------------------------------------------------------------------------------------------

using Clock = std::chrono::steady_clock;

// The best rate of several runs in which all threads do their work at the same time. work(thread) returns how much it did.
double best_rate(int threads, const std::function<double(int)>& work, double patience_s = 0.25) {
  double best = 0;
  const auto begin = Clock::now();
  do {
    std::vector<double> done(static_cast<std::size_t>(threads));
    std::vector<Clock::time_point> starts(done.size()), ends(done.size());
    std::barrier together{threads};
    const auto body = [&](int thread) {
      const auto place = static_cast<std::size_t>(thread);
      together.arrive_and_wait();
      starts[place] = Clock::now();
      done[place] = work(thread);
      ends[place] = Clock::now();
    };
    std::vector<std::thread> others;
    for (int thread = 1; thread < threads; ++thread) others.emplace_back(body, thread);
    body(0);
    for (auto& other : others) other.join();
    double sum = 0;
    for (const double part : done) sum += part;
    const std::chrono::duration<double> elapsed =
        *std::max_element(ends.begin(), ends.end()) - *std::min_element(starts.begin(), starts.end());
    best = std::max(best, sum / elapsed.count());
  } while (std::chrono::duration<double>(Clock::now() - begin).count() < patience_s);
  return best;
}

void print(const std::string& roof, int threads, std::size_t bytes, double value, const char* unit) {
  std::printf(R"({"roof": "%s", "threads": %d, "bytes": %zu, "value": %.6g, "unit": "%s"})"
              "\n",
              roof.c_str(), threads, bytes, value, unit);
  std::fflush(stdout);
}

// --- what is measured ------------------------------------------------------------------------------------------------

void arithmetic(const std::vector<Loops>& all, int threads) {
  for (const Loops& loops : all)
    print(std::string("fma ") + loops.name, threads, 0, best_rate(threads, [&](int) { return loops.fma(1'000'000, 0.999F); }),
          "flop/s");
}

void vnni_arithmetic(int threads) {
  if (__builtin_cpu_supports("avx512vnni"))
    print("vnni zmm", threads, 0, best_rate(threads, [](int) { return vnni(1'000'000); }), "op/s");
}

// A part of `floats` for each thread, whole vectors.
std::size_t part_of(std::size_t floats, int threads) { return floats / static_cast<std::size_t>(threads) / 128 * 128; }

void reads(const Loops& loops, const float* memory, std::size_t floats, int threads) {
  for (std::size_t kilobytes : {24UL, 192UL, 768UL, 4096UL, 16384UL, 65536UL, 262144UL, 1048576UL}) {
    const std::size_t size = kilobytes * 256;
    if (size > floats) break;
    const std::size_t part = part_of(size, threads);
    const std::size_t rounds = std::max<std::size_t>(1, (std::size_t{1} << 23) / size);
    const double rate = best_rate(threads, [&](int thread) {
      float sum = 0;
      for (std::size_t round = 0; round < rounds; ++round)
        sum += loops.read(memory + static_cast<std::size_t>(thread) * part, part);
      sink = sum;
      return 4.0 * static_cast<double>(part * rounds);
    });
    print("read", threads, size * 4, rate, "B/s");
  }
}

// STREAM's count: two arrays read, one written, no more.
void triad(float* memory, std::size_t floats, int threads) {
  const std::size_t size = std::min<std::size_t>(floats / 3, std::size_t{1} << 26) / 128 * 128;
  const std::size_t part = part_of(size, threads);
  const double rate = best_rate(threads, [&](int thread) {
    float* a = memory + static_cast<std::size_t>(thread) * part;
    const float *b = a + size, *c = b + size;
    for (std::size_t i = 0; i < part; ++i) a[i] = b[i] + 3.0F * c[i];
    return 12.0 * static_cast<double>(part);
  });
  print("triad", threads, size * 12, rate, "B/s");
}

// Rows of 256 bytes in random order; a thread updates rows of its own part, so that none is lost.
void rows(const Loops& loops, float* memory, std::size_t floats, int threads) {
  constexpr std::size_t kCount = 1'000'000;  // 256 MB of rows, so that one run leaves little of itself in the caches for the next
  for (std::size_t megabytes : {32UL, 128UL, 2048UL}) {
    const std::size_t size = megabytes * (1UL << 18);
    if (size > floats) break;
    const std::size_t part = size / kRowFloats / static_cast<std::size_t>(threads);
    std::vector<std::vector<std::uint32_t>> anywhere(static_cast<std::size_t>(threads)), own(anywhere);
    std::uint64_t state = 1;
    for (std::size_t thread = 0; thread < anywhere.size(); ++thread)
      for (std::size_t i = 0; i < kCount + kPrefetch; ++i) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        const std::size_t drawn = static_cast<std::size_t>(state >> 33);
        anywhere[thread].push_back(static_cast<std::uint32_t>(drawn % (size / kRowFloats)));
        own[thread].push_back(static_cast<std::uint32_t>(thread * part + drawn % part));
      }
    const auto of = [](const auto& lists, int thread) { return lists[static_cast<std::size_t>(thread)].data(); };
    print("gather", threads, size * 4,
          best_rate(threads,
                    [&](int thread) {
                      sink = loops.gather(memory, of(anywhere, thread), kCount);
                      return static_cast<double>(kCount);
                    }),
          "rows/s");
    print("update", threads, size * 4,
          best_rate(threads,
                    [&](int thread) {
                      loops.update(memory, of(own, thread), kCount, 1e-3F);
                      return static_cast<double>(kCount);
                    }),
          "rows/s");
  }
}

std::vector<int> numbers(const std::string& words) {
  std::vector<int> found;
  for (std::size_t begin = 0; begin < words.size();) {
    const std::size_t end = std::min(words.find(',', begin), words.size());
    found.push_back(std::stoi(words.substr(begin, end - begin)));
    begin = end + 1;
  }
  return found;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::fputs("roofs MEGABYTES THREADS[,THREADS...] NAME...\n", stderr);
    return 2;
  }
  const std::vector<int> threads_list = numbers(arguments[2]);
  const std::vector<std::string> names(arguments + 3, arguments + count);
  const auto wanted = [&](const char* name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  const std::vector<Loops> all = loops_of_cpu();

  const std::size_t bytes = static_cast<std::size_t>(std::stoul(arguments[1])) << 20;
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  float* memory = nullptr;
  const std::size_t floats = bytes / sizeof(float);
  if (wanted("read") || wanted("triad") || wanted("rows")) {
    memory = static_cast<float*>(std::aligned_alloc(kHugePage, bytes));
    if (memory == nullptr) {
      std::fputs("roofs: not enough memory\n", stderr);
      return 1;
    }
    madvise(memory, bytes, MADV_HUGEPAGE);
    std::fill_n(memory, floats, 1.0F);
  }
  for (const int threads : threads_list) {
    if (wanted("fma")) arithmetic(all, threads);
    if (wanted("vnni")) vnni_arithmetic(threads);
    if (wanted("read")) reads(all.back(), memory, floats, threads);
    if (wanted("triad")) triad(memory, floats, threads);
    if (wanted("rows")) rows(all.back(), memory, floats, threads);
  }
  std::free(memory);
}
