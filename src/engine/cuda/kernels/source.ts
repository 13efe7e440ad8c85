import { MOST_GROUPS, MOST_VECTORS } from '../../../onnx/fuse/kernels/domain.js';

/** Pixels whose values a thread of a group normalization loads before it computes with any. */
export const PIXELS_AT_ONCE = 4;
/** Most pixels whose values it keeps, where it has all channels of a group; a multiple of the others. */
export const PIXELS_KEPT = 2 * PIXELS_AT_ONCE;

/**
 * The kernels in CUDA C++, as NVRTC compiles them: without headers, so that no toolkit has to be installed. All tensors are float16
 * in memory and float32 in registers. Every row of a batch is computed by itself, in an order that depends on the number of rows
 * and on sizes only.
 */
export const KERNEL_SOURCE = /* cuda */ `
typedef unsigned short half;
typedef unsigned int word;

/* V values that lie next to each other, moved at once. */
template <int V> struct Halves { word at[(V + 1) / 2]; };

/* Values that no thread writes while the kernel runs, so that loads need not wait for stores; zeros if there are none. */
template <int V> __device__ inline Halves<V> load(const half *from);
template <> __device__ inline Halves<1> load<1>(const half *from) {
  half value = 0;
  if (from) asm("ld.global.nc.u16 %0, [%1];" : "=h"(value) : "l"(from));
  return {{value}};
}
template <> __device__ inline Halves<2> load<2>(const half *from) {
  Halves<2> values = {};
  if (from) asm("ld.global.nc.u32 %0, [%1];" : "=r"(values.at[0]) : "l"(from));
  return values;
}
template <> __device__ inline Halves<4> load<4>(const half *from) {
  Halves<4> values = {};
  if (from) asm("ld.global.nc.v2.u32 {%0, %1}, [%2];" : "=r"(values.at[0]), "=r"(values.at[1]) : "l"(from));
  return values;
}
template <> __device__ inline Halves<8> load<8>(const half *from) {
  Halves<8> values = {};
  if (from)
    asm("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(values.at[0]), "=r"(values.at[1]), "=r"(values.at[2]), "=r"(values.at[3])
        : "l"(from));
  return values;
}

__device__ inline float widen(half value) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value));
  return wide;
}

__device__ inline word narrow(float value) {
  half rounded;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(rounded) : "f"(value));
  return rounded;
}

template <int V> __device__ inline float get(const Halves<V> &values, int k) {
  return widen((half)(values.at[k / 2] >> (k % 2 * 16)));
}

template <int V> __device__ inline Halves<V> pack(const float (&values)[V]) {
  Halves<V> packed;
#pragma unroll
  for (int k = 0; k < V; k += 2) packed.at[k / 2] = narrow(values[k]) | (V > 1 ? narrow(values[(k + 1) % V]) << 16 : 0);
  return packed;
}

template <int V> __device__ inline void store(half *to, const Halves<V> &values) {
  if constexpr (V == 1) *to = (half)values.at[0];
  if constexpr (V == 2) *(word *)to = values.at[0];
  if constexpr (V == 4) *(uint2 *)to = {values.at[0], values.at[1]};
  if constexpr (V == 8) *(uint4 *)to = {values.at[0], values.at[1], values.at[2], values.at[3]};
}

/* Terms of a sum over [rows, pixels, channels]; 0 where there is none. The last channels are of another tensor, as they are. */
struct Terms {
  const half *x;        /* [rows, pixels, first] */
  const half *bias;     /* [first] */
  const half *addend;   /* [rows, first], spread over the pixels */
  const half *residual; /* as x */
  const half *rest;     /* [rows, pixels, channels - first] */
  int first, channels;
};

/* The sums of V channels of a row. */
template <int V> struct Column {
  const half *x, *residual;
  int stride;
  float constants[V];

  __device__ Column(const Terms &terms, int row, int channel) {
    const bool isRest = channel >= terms.first;
    stride = isRest ? terms.channels - terms.first : terms.first;
    x = isRest ? terms.rest + channel - terms.first : terms.x + channel;
    residual = isRest || !terms.residual ? 0 : terms.residual + channel;
    const auto bias = load<V>(isRest || !terms.bias ? 0 : terms.bias + channel);
    const auto addend = load<V>(isRest || !terms.addend ? 0 : terms.addend + (long)row * terms.first + channel);
#pragma unroll
    for (int k = 0; k < V; k++) constants[k] = get<V>(bias, k) + get<V>(addend, k);
  }

  __device__ Halves<V> at(long pixel) const { return sum(loadX(pixel), loadResidual(pixel)); }
  __device__ Halves<V> loadX(long pixel) const { return load<V>(x + pixel * stride); }
  __device__ Halves<V> loadResidual(long pixel) const { return load<V>(residual ? residual + pixel * stride : 0); }
  __device__ Halves<V> sum(const Halves<V> &ofX, const Halves<V> &ofResidual) const {
    float sums[V];
#pragma unroll
    for (int k = 0; k < V; k++) sums[k] = get<V>(ofX, k) + constants[k] + get<V>(ofResidual, k);
    return pack<V>(sums);
  }
};

struct GroupNorm {
  Terms terms;
  const half *scale, *shift; /* [channels] */
  half *y, *sum;             /* [rows, pixels, channels]; sum may be 0 */
  float *moments;            /* [rows, chunks, groups, 2] */
  int pixels, groups, chunks;
  int pixelsInBlock;         /* of the kernel */
  int silu;                  /* whether y = n * sigmoid(n) of the normalized n */
  float epsilon;
};

/* Most groups, and most threads of a block. */
constexpr int GROUPS = ${MOST_GROUPS}, THREADS = ${MOST_VECTORS};
/* Pixels whose values a thread loads before it computes with any. */
constexpr int AT_ONCE = ${PIXELS_AT_ONCE};

/* V channels of one group, and pixels of a row. A thread takes them in turn, so that neighbours in memory are read together. */
template <int V> struct Place {
  int lanes, channel, from, to;
  long first; /* pixel of the row, counted from those of all rows */

  /* @param channels of the block, from the first one on */
  __device__ Place(const GroupNorm &p, int firstChannel, int channels, int firstPixel) {
    const int vectors = channels / V, lane = threadIdx.x / vectors;
    lanes = blockDim.x / vectors;
    channel = firstChannel + (threadIdx.x - lane * vectors) * V;
    to = min(firstPixel + p.pixelsInBlock, p.pixels);
    // The last threads may be too few for another pixel.
    from = lane < lanes ? firstPixel + lane : to;
    first = (long)blockIdx.y * p.pixels;
  }

  /* Loads so many values, from a pixel on. */
  template <int N> __device__ void load(const Column<V> &column, int pixel, Halves<V> (&values)[N], int n) const {
    Halves<V> residual[AT_ONCE];
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++) {
      // Beyond the end, the last one is loaded again.
      const long at = first + min(pixel + k * lanes, to - 1);
      values[n + k] = column.loadX(at);
      residual[k] = column.loadResidual(at);
    }
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++) values[n + k] = column.sum(values[n + k], residual[k]);
  }

  /* Calls a function with the number of each pixel, counted from those of all rows, and its values. */
  template <class Visit> __device__ void forEach(const Column<V> &column, Visit visit) const {
    for (int pixel = from; pixel < to; pixel += AT_ONCE * lanes) {
      Halves<V> values[AT_ONCE];
      load(column, pixel, values, 0);
#pragma unroll
      for (int k = 0; k < AT_ONCE; k++)
        if (pixel + k * lanes < to) visit(first + pixel + k * lanes, values[k]);
    }
  }
};

/* The sum over the threads of a warp, in a fixed order, for all of them. */
__device__ inline float warpSum(float value) {
#pragma unroll
  for (int other = 16; other > 0; other >>= 1) value += __shfl_xor_sync(0xffffffff, value, other);
  return value;
}

/* The sum over the threads of a block of whole warps, in a fixed order, for all of them. */
__device__ inline float blockSum(float value) {
  __shared__ float ofWarps[32];
  const int lane = threadIdx.x & 31;
  value = warpSum(value);
  __syncthreads();
  if (lane == 0) ofWarps[threadIdx.x >> 5] = value;
  __syncthreads();
  return warpSum(lane < (blockDim.x >> 5) ? ofWarps[lane] : 0.f);
}

/* y of normalized values, with the scale and the shift of their channels. */
template <int V> struct Affine {
  float factors[V], offsets[V];

  __device__ Affine(const GroupNorm &p, int channel, float mean, float inverse) {
    const auto scale = load<V>(p.scale + channel), shift = load<V>(p.shift + channel);
#pragma unroll
    for (int k = 0; k < V; k++) {
      factors[k] = inverse * get<V>(scale, k);
      offsets[k] = get<V>(shift, k) - mean * factors[k];
    }
  }

  __device__ Halves<V> of(const Halves<V> &values, bool silu) const {
    float normal[V];
#pragma unroll
    for (int k = 0; k < V; k++) {
      normal[k] = get<V>(values, k) * factors[k] + offsets[k];
      if (silu) normal[k] = __fdividef(normal[k], 1.f + __expf(-normal[k]));
    }
    return pack<V>(normal);
  }
};

/* Group normalization in one kernel, for batches of few groups: a block has a group, and its threads keep the values. */
template <int V> __device__ void groupNormAtOnce(const GroupNorm &p) {
  constexpr int KEPT = ${PIXELS_KEPT};
  const int channels = p.terms.channels, width = channels / p.groups;
  const Place<V> place(p, blockIdx.x * width, width, 0);
  const Column<V> column(p.terms, blockIdx.y, place.channel);
  Halves<V> values[KEPT];
  float total = 0.f, squares = 0.f;
#pragma unroll
  for (int n = 0; n < KEPT; n += AT_ONCE)
    if (place.from + n * place.lanes < place.to) place.load(column, place.from + n * place.lanes, values, n);
  const auto isPixel = [&](int n) { return place.from + n * place.lanes < place.to; };
#pragma unroll
  for (int n = 0; n < KEPT; n++) {
    if (!isPixel(n)) continue;
#pragma unroll
    for (int k = 0; k < V; k++) total += get<V>(values[n], k);
  }
  const float count = (float)p.pixels * width, mean = blockSum(total) / count;
#pragma unroll
  for (int n = 0; n < KEPT; n++) {
    if (!isPixel(n)) continue;
#pragma unroll
    for (int k = 0; k < V; k++) {
      const float distance = get<V>(values[n], k) - mean;
      squares += distance * distance;
    }
  }
  const Affine<V> affine(p, place.channel, mean, rsqrtf(blockSum(squares) / count + p.epsilon));
#pragma unroll
  for (int n = 0; n < KEPT; n++) {
    if (!isPixel(n)) continue;
    const long at = (place.first + place.from + n * place.lanes) * channels + place.channel;
    if (p.sum) store<V>(p.sum + at, values[n]);
    store<V>(p.y + at, affine.of(values[n], p.silu));
  }
}

/* What the values of a group are counted from, so that their squares lose no digits: the first of them. */
__device__ inline float origin(const GroupNorm &p, int row, int channel) {
  return get<1>(Column<1>(p.terms, row, channel).at((long)row * p.pixels), 0);
}

/*
 * Group normalization in two kernels, whose blocks have all channels of some pixels. The first one: the sums of the distances from the
 * origin, and of their squares.
 */
template <int V> __device__ void groupMoments(const GroupNorm &p) {
  __shared__ float sums[THREADS], squares[THREADS];
  const int channels = p.terms.channels, width = channels / p.groups, row = blockIdx.y;
  const Place<V> place(p, 0, channels, blockIdx.x * p.pixelsInBlock);
  const Column<V> column(p.terms, row, place.channel);
  const float zero = origin(p, row, place.channel / width * width);
  float sum = 0.f, square = 0.f;
  place.forEach(column, [&](long pixel, const Halves<V> &values) {
    if (p.sum) store<V>(p.sum + pixel * channels + place.channel, values);
#pragma unroll
    for (int k = 0; k < V; k++) {
      const float distance = get<V>(values, k) - zero;
      sum += distance;
      square += distance * distance;
    }
  });
  sums[threadIdx.x] = sum;
  squares[threadIdx.x] = square;
  __syncthreads();
  const int warp = threadIdx.x >> 5, warps = blockDim.x >> 5, vectors = channels / V;
  const int ofGroup = width / V, items = place.lanes * ofGroup;
  // A last warp with fewer threads takes no part.
  for (int group = warp; group < p.groups && warp < warps; group += warps) {
    sum = square = 0.f;
    for (int item = threadIdx.x & 31; item < items; item += 32) {
      const int lane = item / ofGroup, at = lane * vectors + group * ofGroup + item - lane * ofGroup;
      sum += sums[at];
      square += squares[at];
    }
    sum = warpSum(sum);
    square = warpSum(square);
    float *to = p.moments + 2 * (((long)row * p.chunks + blockIdx.x) * p.groups + group);
    if ((threadIdx.x & 31) == 0) *(float2 *)to = {sum, square};
  }
}

/* The second one normalizes. */
template <int V> __device__ void groupNorm(const GroupNorm &p) {
  __shared__ float means[GROUPS], inverses[GROUPS];
  const int channels = p.terms.channels, width = channels / p.groups, row = blockIdx.y;
  const int warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
  for (int group = warp; group < p.groups && warp < warps; group += warps) {
    float sum = 0.f, square = 0.f;
    for (int chunk = threadIdx.x & 31; chunk < p.chunks; chunk += 32) {
      const float2 moments = *(const float2 *)(p.moments + 2 * (((long)row * p.chunks + chunk) * p.groups + group));
      sum += moments.x;
      square += moments.y;
    }
    const float zero = origin(p, row, group * width);
    const float count = (float)p.pixels * width, mean = warpSum(sum) / count;
    square = warpSum(square) / count;
    if ((threadIdx.x & 31) == 0) {
      means[group] = zero + mean;
      inverses[group] = rsqrtf(fmaxf(square - mean * mean, 0.f) + p.epsilon);
    }
  }
  const Place<V> place(p, 0, channels, blockIdx.x * p.pixelsInBlock);
  Terms terms = p.terms;
  // The first kernel has stored the sum.
  if (p.sum) terms = {p.sum, 0, 0, 0, 0, channels, channels};
  const Column<V> column(terms, row, place.channel);
  __syncthreads();
  const int group = place.channel / width;
  const Affine<V> affine(p, place.channel, means[group], inverses[group]);
  place.forEach(column, [&](long pixel, const Halves<V> &values) {
    store<V>(p.y + pixel * channels + place.channel, affine.of(values, p.silu));
  });
}

struct Sum {
  Terms terms;
  half *y;      /* as x */
  long vectors; /* of V values in x */
};

template <int V> __device__ void sum(const Sum &p) {
  const long item = (long)blockIdx.x * blockDim.x + threadIdx.x;
  if (item >= p.vectors) return;
  const long at = item * V, pixel = at / p.terms.channels;
  store<V>(p.y + at, Column<V>(p.terms, 0, (int)(at - pixel * p.terms.channels)).at(pixel));
}

/* y = a * gelu(b) of [a, b] = x + bias, with the exact gelu (Shazeer 2020: GEGLU). */
struct Geglu {
  const half *x;    /* [rows, 2 * channels] */
  const half *bias; /* [2 * channels] or 0 */
  half *y;          /* [rows, channels] */
  long vectors;     /* of V values in y */
  int channels;
};

template <int V> __device__ void geglu(const Geglu &p) {
  const long item = (long)blockIdx.x * blockDim.x + threadIdx.x;
  if (item >= p.vectors) return;
  const long at = item * V, row = at / p.channels;
  const int channel = (int)(at - row * p.channels);
  const half *x = p.x + 2 * row * p.channels + channel, *bias = p.bias ? p.bias + channel : 0;
  const auto a = load<V>(x), b = load<V>(x + p.channels);
  const auto ofA = load<V>(bias), ofB = load<V>(bias ? bias + p.channels : 0);
  float values[V];
#pragma unroll
  for (int k = 0; k < V; k++) {
    const float gate = get<V>(b, k) + get<V>(ofB, k);
    values[k] = (get<V>(a, k) + get<V>(ofA, k)) * 0.5f * gate * (1.f + erff(gate * 0.70710678f));
  }
  store<V>(p.y + at, pack<V>(values));
}

/* HALVES is a macro of the compilation. */
extern "C" __global__ void __launch_bounds__(THREADS) groupNormAtOnce(const GroupNorm p) { groupNormAtOnce<HALVES>(p); }
extern "C" __global__ void __launch_bounds__(THREADS) groupMoments(const GroupNorm p) { groupMoments<HALVES>(p); }
extern "C" __global__ void __launch_bounds__(THREADS) groupNorm(const GroupNorm p) { groupNorm<HALVES>(p); }
extern "C" __global__ void sum(const Sum p) { sum<HALVES>(p); }
extern "C" __global__ void geglu(const Geglu p) { geglu<HALVES>(p); }
`;
