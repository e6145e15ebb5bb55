// Adds two vectors on the GPU. Prints what went wrong, and ends with 77 where there is no GPU to run on.
#include <cstdio>

__global__ void saxpy(int n, float a, const float *x, float *y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}

int main() {
  const int n = 1 << 16;
  float *x, *y;
  cudaError_t error = cudaMallocManaged(&x, n * sizeof(float));
  if (error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver) {
    std::puts(cudaGetErrorString(error));
    return 77;
  }
  if (error != cudaSuccess || (error = cudaMallocManaged(&y, n * sizeof(float))) != cudaSuccess) {
    std::puts(cudaGetErrorString(error));
    return 1;
  }
  for (int i = 0; i < n; i++) x[i] = 1.0f, y[i] = 2.0f;
  saxpy<<<(n + 255) / 256, 256>>>(n, 3.0f, x, y);
  if ((error = cudaDeviceSynchronize()) != cudaSuccess) {
    std::puts(cudaGetErrorString(error));
    return 1;
  }
  for (int i = 0; i < n; i++) {
    if (y[i] != 5.0f) return std::printf("y[%d] is %f\n", i, y[i]), 1;
  }
  return 0;
}
